/* SPDX-License-Identifier: MIT
 *
 * The log of actions; see audit.h. Rows are added and read, never changed.
 */
#include "common/audit.h"

#include <string.h>

#include "common/buf.h"
#include "common/statements.h"

enum { ADD, LIST, PRUNE };

static const struct db_stmt statements[] = {
    [ADD] = {"audit_add",
             "INSERT INTO audit (actor, role, remote, action, target, outcome, detail)"
             " VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb)",
             7},
    [LIST] = {"audit_list",
              "SELECT id, " SQL_TIME(
                  "at") ", actor, role, remote, action, target, outcome, detail"
                        " FROM audit WHERE id < $1 AND ($2::text IS NULL OR actor = $2)"
                        " AND ($3::text IS NULL OR starts_with(action, $3))"
                        " AND ($4::text IS NULL OR target = $4) ORDER BY id DESC LIMIT $5",
              5},
    /* Ids grow with time, so no more than the oldest rows are looked at. */
    [PRUNE] =
        {"audit_prune",
         "DELETE FROM audit WHERE id = ANY (ARRAY(SELECT id FROM (SELECT id, at FROM audit"
         " ORDER BY id LIMIT $2) oldest WHERE at < now() - $1::bigint * interval '1 second'))",
         2},
};

DB_STATEMENTS(audit, statements);

/* At most `max` bytes, not cut within a character. */
static size_t cut(const char *text, size_t max)
{
    size_t len = strlen(text);

    if (len <= max)
        return len;
    while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80)
        max--;
    return max;
}

enum err_code audit_add(struct db *db, const struct audit_entry *entry, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf target;
    const char *given = entry->target ? entry->target : "";

    buf_init(&target, AUDIT_TARGET_MAX);
    buf_add(&target, given, cut(given, AUDIT_TARGET_MAX));
    return db_exec(db, &statements[ADD],
                   DB_ARGS(DB_TEXT(entry->actor), DB_TEXT(entry->role), DB_TEXT(entry->remote),
                           DB_TEXT(entry->action), DB_TEXT(target.data), DB_TEXT(entry->outcome),
                           DB_TEXT(entry->detail ? entry->detail : "{}")),
                   NULL, e);
}

static const char *none_if_empty(const char *text) { return text && *text ? text : NULL; }

enum err_code audit_list(struct db *db, const struct audit_filter *filter,
                         struct db_result **ret_rows, struct err *e)
{
    return db_query(db, &statements[LIST],
                    DB_ARGS(DB_INT(filter->before ? filter->before : INT64_MAX),
                            DB_TEXT(none_if_empty(filter->actor)),
                            DB_TEXT(none_if_empty(filter->action)),
                            DB_TEXT(none_if_empty(filter->target)), DB_INT(filter->limit)),
                    ret_rows, e);
}

enum err_code audit_prune(struct db *db, int64_t kept_s, int max, int64_t *ret_count, struct err *e)
{
    return db_exec(db, &statements[PRUNE], DB_ARGS(DB_INT(kept_s), DB_INT(max)), ret_count, e);
}
