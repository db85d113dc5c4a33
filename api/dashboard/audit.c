/* SPDX-License-Identifier: MIT
 *
 * The audit log, newest first, page by page.
 */
#include <string.h>

#include "api/dashboard/dashboard.h"
#include "common/audit.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"

enum { LIMIT_DEFAULT = 50 };

static json_t *row_json(const struct db_result *rows, int row)
{
    const char *text = db_text(rows, row, 8);
    json_t *detail = NULL;

    if (json_read(text, strlen(text), 1024 * 1024, &detail, NULL))
        detail = json_object();
    return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "id",
                     (json_int_t)db_int(rows, row, 0), "at", db_text(rows, row, 1), "actor",
                     db_text(rows, row, 2), "role", db_text(rows, row, 3), "remote",
                     db_text(rows, row, 4), "action", db_text(rows, row, 5), "target",
                     db_text(rows, row, 6), "outcome", db_text(rows, row, 7), "detail", detail);
}

static enum err_code list(struct request *req, const struct audit_filter *filter,
                          json_t **ret_value, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct audit_filter wanted = *filter;
    json_t *entries;
    bool has_more;
    int count;
    enum err_code rc;

    wanted.limit++;
    rc = audit_list(thread_of(req)->db, &wanted, &rows, e);
    if (rc)
        return rc;
    has_more = db_rows(rows) > filter->limit;
    count = has_more ? filter->limit : db_rows(rows);
    entries = json_array();
    for (int row = 0; row < count; row++)
        (void)json_array_append_new(entries, row_json(rows, row));
    *ret_value = json_pack("{s:o, s:o}", "entries", entries, "next",
                           has_more ? json_integer(db_int(rows, count - 1, 0)) : json_null());
    return ERR_OK;
}

enum err_code audit_show(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(mem_free) char *actor = request_query(req, "actor");
    AUTO(mem_free) char *action = request_query(req, "action");
    AUTO(mem_free) char *target = request_query(req, "target");
    AUTO(mem_free) char *cursor = request_query(req, "cursor");
    AUTO(mem_free) char *limit = request_query(req, "limit");
    struct audit_filter filter = {.actor = actor, .action = action, .target = target};
    int64_t number = LIMIT_DEFAULT;
    json_t *value = NULL;
    enum err_code rc;

    if (limit && !text_to_int(limit, 1, AUDIT_LIMIT_MAX - 1, &number))
        return err_set(e, ERR_INVALID, "limit is a number from 1 to %d", AUDIT_LIMIT_MAX - 1);
    filter.limit = (int)number;
    if (cursor && *cursor && !text_to_int(cursor, 1, INT64_MAX, &filter.before))
        return err_set(e, ERR_INVALID, "the cursor is a number");
    rc = list(req, &filter, &value, e);
    return rc ? rc : reply_json(reply, 200, value, e);
}
