/* SPDX-License-Identifier: MIT
 *
 * Judging the declaration of a flow; see flow_spec.h. Walks the tree once and opens nothing.
 */
#include "common/flow_spec.h"

#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/job_headers.h"
#include "common/jobs.h"
#include "common/mem.h"
#include "common/text.h"
#include "common/uuid.h"

/* "flow" and at most eight times ".on_complete" or ".chain[10000]". */
enum { PLACE_MAX = 160 };

struct walk {
    size_t nodes;
    size_t jobs;
    struct err *e;
};

static enum err_code check_node(struct walk *walk, const json_t *node, const char *place,
                                int depth);

static bool is_listed(const char *key, const char *const *keys)
{
    for (size_t i = 0; keys[i]; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

static enum err_code check_keys(struct walk *walk, const json_t *node, const char *kind,
                                const char *const *keys, const char *place, int depth)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)node, key, value)
    {
        (void)value;
        if (!is_listed(key, keys) && !(depth == 0 && strcmp(key, "name") == 0))
            return err_set(walk->e, ERR_INVALID, "%s has \"%.40s\", which a %s cannot have", place,
                           key, kind);
    }
    return ERR_OK;
}

/* ---- a job ---- */

/* The members of a job that are texts for jobs_check(): owned. */
struct texts {
    char *args;
    char *kwargs;
    char *headers;
};

static void texts_release(struct texts *texts)
{
    mem_free(texts->args);
    mem_free(texts->kwargs);
    mem_free(texts->headers);
}

static bool read_text(const json_t *node, const char *key, const char **ret_text)
{
    const json_t *value = json_object_get(node, key);

    if (value && !json_is_string(value))
        return false;
    *ret_text = json_string_value(value);
    return true;
}

static bool read_int(const json_t *node, const char *key, int64_t *ret_number)
{
    const json_t *value = json_object_get(node, key);

    if (value && (!json_is_integer(value) || json_integer_value(value) < 1 ||
                  json_integer_value(value) > 999999999))
        return false;
    *ret_number = json_integer_value(value);
    return true;
}

static bool read_time(const json_t *node, const char *key, int64_t *ret_us)
{
    const char *text = NULL;

    return read_text(node, key, &text) && (!text || clock_parse(text, ret_us));
}

static bool read_priority(const json_t *node)
{
    static const char *const names[] = {"high", "normal", "low", NULL};
    const json_t *value = json_object_get(node, "priority");

    if (json_is_integer(value))
        return json_integer_value(value) >= 0 && json_integer_value(value) < JOB_PRIORITY_COUNT;
    return !value || (json_is_string(value) && is_listed(json_string_value(value), names));
}

/* The first member that cannot be read, or NULL; the rest is judged by jobs_check(). */
static const char *read_job(const json_t *node, struct texts *texts, struct job_new *job)
{
    const char *id = NULL;
    struct uuid parsed;
    int64_t attempts = 0;

    if (!read_text(node, "task", &job->task))
        return "task";
    if (!read_text(node, "queue", &job->queue))
        return "queue";
    if (!read_text(node, "unique_key", &job->unique_key))
        return "unique_key";
    if (!read_text(node, "limit_key", &job->limit_key))
        return "limit_key";
    if (!read_text(node, "traceparent", &job->traceparent))
        return "traceparent";
    if (!read_text(node, "id", &id) || (id && !uuid_parse(id, &parsed)))
        return "id";
    if (!read_int(node, "max_attempts", &attempts))
        return "max_attempts";
    if (!read_int(node, "retention_s", &job->retention_s))
        return "retention_s";
    if (!read_time(node, "scheduled_at", &job->scheduled_us))
        return "scheduled_at";
    if (!read_time(node, "expires_at", &job->expires_us))
        return "expires_at";
    if (!read_priority(node))
        return "priority";
    texts->args = json_write(json_object_get(node, "args"));
    texts->kwargs = json_write(json_object_get(node, "kwargs"));
    texts->headers = json_write(json_object_get(node, "headers"));
    job->args = texts->args;
    job->kwargs = texts->kwargs;
    job->headers = texts->headers;
    job->max_attempts = (int)attempts;
    return NULL;
}

/* What a member of a job has to be that cannot be read. */
static const char *form_of(const char *key)
{
#define TIME "a time with its zone, like 2030-01-01T12:00:00Z"
    static const struct {
        const char *key;
        const char *form;
    } forms[] = {
        {"id", "a UUID"},
        {"max_attempts", "a whole number from 1"},
        {"retention_s", "a whole number of seconds from 1"},
        {"scheduled_at", TIME},
        {"expires_at", TIME},
        {"priority", "0, 1, 2, high, normal or low"},
    };
#undef TIME

    for (size_t i = 0; i < COUNT_OF(forms); i++)
        if (strcmp(forms[i].key, key) == 0)
            return forms[i].form;
    return "a text";
}

static enum err_code check_job(struct walk *walk, const json_t *node, const char *place, int depth)
{
    static const char *const keys[] = {"task",         "args",         "kwargs",      "queue",
                                       "priority",     "max_attempts", "id",          "expires_at",
                                       "headers",      "traceparent",  "retention_s", "unique_key",
                                       "scheduled_at", "limit_key",    NULL};
    AUTO_VALUE(texts_release) struct texts texts = {0};
    struct job_new job = {.priority = JOB_PRIORITY_NORMAL};
    const char *wrong;
    struct err why = {0};
    enum err_code rc = check_keys(walk, node, "job", keys, place, depth);

    if (rc)
        return rc;
    if (++walk->jobs > FLOW_JOBS_MAX)
        return err_set(walk->e, ERR_INVALID, "a flow has at most %d jobs", FLOW_JOBS_MAX);
    wrong = read_job(node, &texts, &job);
    if (wrong)
        return err_set(walk->e, ERR_INVALID, "%s has a \"%s\" that cannot be read: it is %s", place,
                       wrong, form_of(wrong));
    rc = jobs_check(&job, &why);
    return rc ? err_set(walk->e, rc, "%s: %s", place, why.text) : ERR_OK;
}

/* ---- chains and groups ---- */

static enum err_code check_child(struct walk *walk, const json_t *child, const char *place,
                                 const char *step, int depth)
{
    char below[PLACE_MAX];

    if (!text_format(below, sizeof below, "%s.%s", place, step))
        return err_set(walk->e, ERR_INTERNAL, "a place in a flow has too long a name");
    return check_node(walk, child, below, depth + 1);
}

static enum err_code check_members(struct walk *walk, const json_t *members, const char *kind,
                                   const char *place, int depth)
{
    size_t count = json_array_size(members);
    enum err_code rc = ERR_OK;

    if (!json_is_array(members))
        return err_set(walk->e, ERR_INVALID, "%s \"%s\" must be an array", place, kind);
    if (count == 0)
        return err_set(walk->e, ERR_INVALID, "%s \"%s\" is empty", place, kind);
    if (count > FLOW_MEMBERS_MAX)
        return err_set(walk->e, ERR_INVALID, "%s \"%s\" has more than %d members", place, kind,
                       FLOW_MEMBERS_MAX);
    if (depth >= FLOW_DEPTH_MAX)
        return err_set(walk->e, ERR_INVALID, "%s is nested deeper than %d levels", place,
                       FLOW_DEPTH_MAX);
    for (size_t i = 0; i < count && !rc; i++) {
        char step[24];

        if (!text_format(step, sizeof step, "%s[%zu]", kind, i))
            return err_set(walk->e, ERR_INTERNAL, "a place in a flow has too long a name");
        rc = check_child(walk, json_array_get(members, i), place, step, depth);
    }
    return rc;
}

static enum err_code check_chain(struct walk *walk, const json_t *node, const char *place,
                                 int depth)
{
    static const char *const keys[] = {"chain", NULL};
    enum err_code rc = check_keys(walk, node, "chain", keys, place, depth);

    return rc ? rc : check_members(walk, json_object_get(node, "chain"), "chain", place, depth);
}

static enum err_code check_group(struct walk *walk, const json_t *node, const char *place,
                                 int depth)
{
    static const char *const keys[] = {"group", "callback", "on_complete", NULL};
    enum err_code rc = check_keys(walk, node, "group", keys, place, depth);

    if (!rc)
        rc = check_members(walk, json_object_get(node, "group"), "group", place, depth);
    for (size_t i = 1; keys[i] && !rc; i++)
        if (json_object_get(node, keys[i]))
            rc = check_child(walk, json_object_get(node, keys[i]), place, keys[i], depth);
    return rc;
}

static enum err_code check_node(struct walk *walk, const json_t *node, const char *place, int depth)
{
    bool is_job = json_object_get(node, "task") != NULL;
    bool is_chain = json_object_get(node, "chain") != NULL;
    bool is_group = json_object_get(node, "group") != NULL;

    if (is_job + is_chain + is_group != 1)
        return err_set(walk->e, ERR_INVALID,
                       "%s must be an object with one of \"task\", \"chain\" and \"group\"", place);
    if (++walk->nodes > FLOW_NODES_MAX)
        return err_set(walk->e, ERR_INVALID, "a flow has at most %d jobs", FLOW_JOBS_MAX);
    if (is_job)
        return check_job(walk, node, place, depth);
    return is_chain ? check_chain(walk, node, place, depth) : check_group(walk, node, place, depth);
}

static bool is_name(const json_t *name)
{
    const char *text = json_string_value(name);
    size_t len = json_string_length(name);

    if (!text || len < 1 || len > FLOW_NAME_MAX || strlen(text) != len)
        return false;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < ' ' || *p == 0x7f || (*p == 0xc2 && p[1] < 0xa0))
            return false;
    return true;
}

enum err_code flow_check(const json_t *flow, size_t *ret_jobs, struct err *e)
{
    struct walk walk = {.e = e};
    const json_t *name = json_object_get(flow, "name");
    enum err_code rc;

    if (name && !is_name(name))
        return err_set(e, ERR_INVALID, "the name of a flow is 1 to %d bytes of printable text",
                       FLOW_NAME_MAX);
    rc = check_node(&walk, flow, "flow", 0);
    if (!rc && ret_jobs)
        *ret_jobs = walk.jobs;
    return rc;
}

/* ---- what the jobs inherit ---- */

struct inherited {
    const char *traceparent; /* or NULL */
    const json_t *headers;   /* or NULL */
};

static int inherit(json_t *node, const struct inherited *from);

static int inherit_all(const json_t *nodes, const struct inherited *from)
{
    int failed = 0;

    for (size_t i = 0; i < json_array_size(nodes) && !failed; i++)
        failed = inherit(json_array_get(nodes, i), from);
    return failed;
}

static int inherit_as_job(json_t *job, const struct inherited *from)
{
    const json_t *own = json_object_get(job, "traceparent");
    int failed = 0;

    if (from->traceparent && (!own || json_is_null(own)))
        failed = json_object_set_new(job, "traceparent", json_string(from->traceparent));
    if (from->headers && !failed) {
        json_t *headers = job_headers_joined(json_object_get(job, "headers"), from->headers);

        failed = headers ? json_object_set_new(job, "headers", headers) : 0;
    }
    return failed;
}

/* `node` has been checked, which bounds the depth, or is NULL. */
static int inherit(json_t *node, const struct inherited *from)
{
    if (!node)
        return 0;
    if (json_object_get(node, "task"))
        return inherit_as_job(node, from);
    return inherit_all(json_object_get(node, "chain"), from) ||
           inherit_all(json_object_get(node, "group"), from) ||
           inherit(json_object_get(node, "callback"), from) ||
           inherit(json_object_get(node, "on_complete"), from);
}

enum err_code flow_with_trace(const json_t *flow, const char *traceparent, const json_t *headers,
                              json_t **ret_flow, struct err *e)
{
    const struct inherited from = {.traceparent = traceparent, .headers = headers};
    AUTO(json_decref) json_t *copy = NULL;
    enum err_code rc = flow_check(flow, NULL, e);

    if (rc)
        return rc;
    copy = json_deep_copy(flow);
    if (!copy || inherit(copy, &from))
        return err_set(e, ERR_NOMEM, "out of memory");
    *ret_flow = TAKE(copy);
    return ERR_OK;
}
