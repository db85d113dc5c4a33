/* SPDX-License-Identifier: MIT
 *
 * The handlers that all resources share; see resource.h. On the way that succeeds each is one
 * statement. Only when something is wrong are more asked, to tell the client all that is: first
 * whether the object exists (404 before 400, as Django REST framework has it), then which of the
 * objects referred to do not.
 */
#include "api/resource.h"

#include <string.h>

#include "api/answers.h"
#include "api/cache.h"
#include "api/page.h"
#include "api/replica.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"

/* What was read of a body or a query; the texts of `values` belong to `f`. */
struct input {
    struct fields f;
    struct resource_values values;
    const struct resource_field *references[RESOURCE_REFERENCES_MAX];
    int64_t ids[RESOURCE_REFERENCES_MAX]; /* 0: none was sent, or no number */
    size_t references_count;
};

static void input_release(struct input *input) { fields_release(&input->f); }

/* ---- reading values ---- */

static struct db_param read_bool(struct fields *f, const char *name)
{
    /* Clients in Python write theirs with a capital. */
    static const char *const choices[] = {"true", "false", "True", "False", "1", "0", NULL};
    const char *text = fields_choice(f, name, choices);

    return text ? DB_BOOL(*text == 't' || *text == 'T' || *text == '1') : DB_NULL;
}

static struct db_param read_id(struct fields *f, const struct resource_field *field)
{
    int64_t id = 0;

    if ((field->rules & RESOURCE_NULL) && fields_is_null(f, field->name))
        return DB_INT(0);
    return fields_id(f, field->name, &id) ? DB_INT(id) : DB_NULL;
}

static struct db_param read_value(struct fields *f, const struct resource_field *field)
{
    int64_t number = 0;

    switch (field->kind) {
    case RESOURCE_TEXT:
        return DB_TEXT(fields_text(f, field->name, (size_t)field->max, field->rules));
    case RESOURCE_INT:
        return fields_int(f, field->name, field->min, field->max, &number) ? DB_INT(number)
                                                                           : DB_NULL;
    case RESOURCE_DECIMAL:
        return DB_TEXT(fields_decimal(f, field->name, field->min, field->max));
    case RESOURCE_CHOICE:
        return DB_TEXT(fields_choice(f, field->name, field->choices));
    case RESOURCE_BOOL:
        return read_bool(f, field->name);
    case RESOURCE_ID:
        break;
    }
    return read_id(f, field);
}

static void note_reference(struct input *input, const struct resource_field *field,
                           const struct db_param *value)
{
    size_t at = input->references_count;

    if (!(field->rules & RESOURCE_REFERENCE) || at == RESOURCE_REFERENCES_MAX)
        return;
    input->references[at] = field;
    input->ids[at] = value->type == DB_PARAM_INT ? value->num : 0;
    input->references_count++;
}

static void read_values(struct input *input, const struct resource_field *fields, size_t count,
                        bool is_partial)
{
    input->values.count = count;
    for (size_t i = 0; i < count; i++) {
        bool may_lack = is_partial || (fields[i].rules & FIELD_OPTIONAL);
        struct db_param *value = &input->values.items[i];

        *value = may_lack && !fields_is_given(&input->f, fields[i].name)
                     ? DB_NULL
                     : read_value(&input->f, &fields[i]);
        note_reference(input, &fields[i], value);
    }
}

/* ---- telling what is wrong ---- */

/* Notes the ids that were sent and name nothing that exists for this user. */
static enum err_code check_references(const struct resource *resource, const struct request *req,
                                      struct input *input, struct err *e)
{
    bool exists[RESOURCE_REFERENCES_MAX] = {false};
    enum err_code rc = ERR_OK;

    if (input->references_count == 0)
        return ERR_OK;
    rc = resource_check(api_db(req), resource->sql, req->user.id, input->ids,
                        input->references_count, exists, e);
    for (size_t i = 0; !rc && i < input->references_count; i++)
        if (input->ids[i] > 0 && !exists[i])
            fields_error_no_object(&input->f, input->references[i]->name, input->ids[i]);
    return rc;
}

/* The 400 of a body that is not good. */
static enum err_code reply_faults(const struct resource *resource, const struct request *req,
                                  struct input *input, struct reply *reply, struct err *e)
{
    enum err_code rc = check_references(resource, req, input, e);

    if (!rc)
        (void)fields_end(&input->f, reply);
    return rc;
}

static const struct resource_refusal *find_refusal(const struct resource *resource,
                                                   const char *constraint)
{
    const struct resource_refusal *refusal = resource->refusals;

    for (; refusal && refusal->constraint; refusal++)
        if (strcmp(refusal->constraint, constraint) == 0)
            return refusal;
    return NULL;
}

/* Why a write was refused or found nothing, once the object itself is known to be there. */
static enum err_code explain(const struct resource *resource, const struct request *req,
                             struct input *input, enum err_code failed, const struct err *failure,
                             struct reply *reply, struct err *e)
{
    const struct resource_refusal *refusal =
        failed == ERR_NOT_FOUND ? NULL : find_refusal(resource, db_constraint(api_db(req)));
    enum err_code rc;

    if (refusal) {
        fields_reply_error(reply, refusal->field, refusal->text);
        return ERR_OK;
    }
    rc = check_references(resource, req, input, e);
    if (rc || !fields_are_good(&input->f)) {
        (void)fields_end(&input->f, reply);
        return rc;
    }
    return err_set_detail(e, failed, failure->detail, "%s", failure->text);
}

static void reply_forbidden(struct reply *reply)
{
    reply_detail(reply, 403, "You do not have permission to perform this action.");
}

static void reply_row(struct reply *reply, int status, const struct db_result *rows)
{
    const char *json = db_text(rows, 0, 0);

    reply_bytes(reply, status, "application/json", json, strlen(json));
}

/* ---- reading ---- */

/* The parameters of the query that are filters, as an object: what is empty is not there. */
static json_t *query_object(const struct resource *resource, const struct request *req)
{
    json_t *object = json_object();

    for (size_t i = 0; i < resource->filters_count; i++) {
        const char *name = resource->filters[i].name;
        AUTO(mem_free) char *value = request_query(req, name);

        if (value && *value)
            (void)json_object_set_new(object, name, json_string(value));
    }
    return object;
}

static enum err_code pass_pair(void *data, const char *name, const char *value, struct err *e)
{
    (void)data;
    (void)name;
    (void)value;
    (void)e;
    return ERR_OK;
}

/* A filter that cannot be read must not be one that was not given: the answer would be everything.
 */
static bool check_query(const struct request *req, struct reply *reply)
{
    if (!form_each(req->query, strlen(req->query), pass_pair, NULL, NULL))
        return true;
    reply_detail(reply, 400, "The query is no UTF-8, holds a NUL, or has too many parameters.");
    return false;
}

static enum err_code read_page(const struct resource *resource, const struct request *req,
                               const struct page *page, const struct resource_values *filters,
                               struct db_result **rows, int64_t *ret_total, struct err *e)
{
    AUTO(mem_free) char *ordering = request_query(req, "ordering");
    enum err_code rc;

    db_result_free(*rows);
    *rows = NULL;
    rc = resource_list(api_reader(req), resource->sql, req->user.id,
                       &(struct resource_page){ordering, page->size, page->offset}, filters, rows,
                       ret_total, e);
    if (!rc && db_columns(*rows) > 2)
        cache_note_rows(req, db_text(*rows, 0, 2));
    return rc;
}

enum err_code resource_index(const struct resource *resource, struct request *req,
                             struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *query = query_object(resource, req);
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(input_release) struct input input = {0};
    struct page page;
    int64_t total = 0;
    enum err_code rc;

    if (!check_query(req, reply) || !fields_begin(&input.f, query, reply) ||
        !page_read(req, &page, reply))
        return ERR_OK;
    read_values(&input, resource->filters, resource->filters_count, true);
    if (!fields_end(&input.f, reply))
        return ERR_OK;
    rc = read_page(resource, req, &page, &input.values, &rows, &total, e);
    if (!rc && page_settle(&page, total))
        rc = read_page(resource, req, &page, &input.values, &rows, &total, e);
    return rc ? rc : page_reply(req, &page, total, db_text(rows, 0, 1), reply, e);
}

enum err_code resource_show(const struct resource *resource, struct request *req,
                            struct reply *reply, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    int64_t id;
    enum err_code rc;

    if (!api_path_id(req, &id))
        return err_set(e, ERR_NOT_FOUND, "there is no such object");
    rc = resource_find(api_reader(req), resource->sql, req->user.id, id, &rows, e);
    if (rc)
        return rc;
    if (db_columns(rows) > 1)
        cache_note_rows(req, db_text(rows, 0, 1));
    reply_row(reply, 200, rows);
    return ERR_OK;
}

/* ---- writing ---- */

enum err_code resource_create(const struct resource *resource, struct request *req,
                              struct reply *reply, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(input_release) struct input input = {0};
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    struct err failure = {0};
    enum err_code rc;

    if (!fields_begin(&input.f, req->data, reply))
        return ERR_OK;
    read_values(&input, resource->fields, resource->fields_count, false);
    fields_refuse_unknown(&input.f);
    if (!fields_are_good(&input.f))
        return reply_faults(resource, req, &input, reply, e);
    rc = replica_begin_write(req, &tx, &failure);
    if (!rc)
        rc = resource_add(api_db(req), resource->sql, req->user.id, &input.values, &rows, &failure);
    if (!rc)
        rc = replica_end_write(req, &tx, &failure);
    db_rollback(&tx);
    if (rc)
        return explain(resource, req, &input, rc, &failure, reply, e);
    reply_row(reply, 201, rows);
    return ERR_OK;
}

/* Whether the object is there to be seen: ERR_OK or ERR_NOT_FOUND; and whose it is, by the one
 * member that tells it where everybody sees all. */
static enum err_code look(const struct resource *resource, const struct request *req, int64_t id,
                          bool *ret_is_own, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO(json_decref) json_t *object = NULL;
    const char *text;
    enum err_code rc = resource_find(api_db(req), resource->sql, req->user.id, id, &rows, e);

    *ret_is_own = true;
    if (rc || !resource->is_read_by_all)
        return rc;
    text = db_text(rows, 0, 0);
    rc = json_read(text, strlen(text), HTTP_REPLY_MAX, &object, e);
    *ret_is_own = json_integer_value(json_object_get(object, "user_id")) == req->user.id;
    return rc;
}

/* A change that was refused, or found nothing: 404, 403 or 400. */
static enum err_code explain_change(const struct resource *resource, const struct request *req,
                                    int64_t id, struct input *input, enum err_code failed,
                                    const struct err *failure, struct reply *reply, struct err *e)
{
    bool is_own = true;
    enum err_code rc = failed == ERR_NOT_FOUND ? look(resource, req, id, &is_own, e) : ERR_OK;

    if (rc)
        return rc;
    if (is_own)
        return explain(resource, req, input, failed, failure, reply, e);
    reply_forbidden(reply);
    return ERR_OK;
}

/* A change whose body is not good: 404 and 403 come before it. */
static enum err_code refuse_change(const struct resource *resource, const struct request *req,
                                   int64_t id, struct input *input, struct reply *reply,
                                   struct err *e)
{
    bool is_own;
    enum err_code rc = look(resource, req, id, &is_own, e);

    if (rc)
        return rc;
    if (!is_own)
        reply_forbidden(reply);
    else if (fields_check_object(req->data, reply))
        return reply_faults(resource, req, input, reply, e);
    return ERR_OK;
}

/* Whether the object is still what the client has read: its ETag, as a GET would give it now. */
static enum err_code is_as_known(const struct resource *resource, const struct request *req,
                                 int64_t id, const char *known, bool *ret, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf body;
    char tag[ANSWER_TAG_SIZE];
    enum err_code rc = resource_find(api_db(req), resource->sql, req->user.id, id, &rows, e);

    buf_init(&body, HTTP_REPLY_MAX);
    if (rc)
        return rc;
    buf_add_str(&body, db_text(rows, 0, 0));
    answers_tag(&body, tag);
    *ret = cache_matches(known, tag);
    return ERR_OK;
}

/* Before a change or a removal. With If-Match it happens only to what the client has read: the row
 * is held from that look to the end, so that of two who read the same the second is told. */
static enum err_code begin_change(const struct resource *resource, const struct request *req,
                                  int64_t id, struct db_tx *tx, bool *ret_is_other, struct err *e)
{
    const char *known = request_header(req, "If-Match");
    bool is_same = true;
    enum err_code rc;

    if (!known)
        return replica_begin_write(req, tx, e);
    rc = db_begin(api_db(req), tx, e);
    if (!rc)
        rc = resource_hold(api_db(req), resource->sql, req->user.id, id, e);
    if (!rc)
        rc = is_as_known(resource, req, id, known, &is_same, e);
    *ret_is_other = !is_same;
    return rc;
}

static void reply_is_other(struct reply *reply)
{
    reply_detail(reply, 412, "It has changed since: its ETag is none of If-Match. Read it again.");
}

enum err_code resource_update(const struct resource *resource, struct request *req,
                              struct reply *reply, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(input_release) struct input input = {0};
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    struct err failure = {0};
    bool is_other = false;
    int64_t id;
    enum err_code rc;

    if (!api_path_id(req, &id))
        return err_set(e, ERR_NOT_FOUND, "there is no such object");
    fields_begin_nested(&input.f, json_is_object(req->data) ? req->data : NULL);
    read_values(&input, resource->fields, resource->fields_count,
                strcmp(req->method, "PATCH") == 0);
    fields_refuse_unknown(&input.f);
    if (!json_is_object(req->data) || !fields_are_good(&input.f))
        return refuse_change(resource, req, id, &input, reply, e);
    rc = begin_change(resource, req, id, &tx, &is_other, &failure);
    if (!rc && is_other) {
        reply_is_other(reply);
        return ERR_OK;
    }
    if (!rc)
        rc = resource_change(api_db(req), resource->sql, req->user.id, id, &input.values, &rows,
                             &failure);
    if (!rc)
        rc = replica_end_write(req, &tx, &failure);
    db_rollback(&tx);
    if (rc)
        return explain_change(resource, req, id, &input, rc, &failure, reply, e);
    reply_row(reply, 200, rows);
    return ERR_OK;
}

enum err_code resource_delete(const struct resource *resource, struct request *req,
                              struct reply *reply, struct err *e)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    struct err failure = {0};
    bool is_other = false;
    int64_t id;
    enum err_code rc;

    if (!api_path_id(req, &id))
        return err_set(e, ERR_NOT_FOUND, "there is no such object");
    rc = begin_change(resource, req, id, &tx, &is_other, &failure);
    if (!rc && is_other) {
        reply_is_other(reply);
        return ERR_OK;
    }
    if (!rc)
        rc = resource_remove(api_db(req), resource->sql, req->user.id, id, &failure);
    if (!rc)
        rc = replica_end_write(req, &tx, &failure);
    db_rollback(&tx);
    if (rc == ERR_NOT_FOUND && resource->is_read_by_all) {
        bool is_own;

        rc = look(resource, req, id, &is_own, e);
        if (!rc)
            reply_forbidden(reply);
        return rc;
    }
    if (rc == ERR_INVALID) { /* a foreign key holds it */
        reply_detail(reply, 409, "Other objects refer to this one: remove them first.");
        return ERR_OK;
    }
    if (rc)
        return err_set_detail(e, rc, failure.detail, "%s", failure.text);
    reply_bytes(reply, 204, "application/json", "", 0);
    return ERR_OK;
}
