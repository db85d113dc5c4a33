/* SPDX-License-Identifier: MIT
 *
 * The table time_limits and the limits in `tasks`; see time_limits.h.
 */
#include "common/time_limits.h"

#include <stdio.h>

#include "common/mem.h"
#include "common/statements.h"
#include "common/text.h"

enum { LIST, SET, FORGET, DECLARE };

static const struct db_stmt statements[] = {
    [LIST] = {"time_limits_list",
              "SELECT coalesce(t.name, l.task), l.soft_ms, l.hard_ms, t.soft_limit_ms,"
              " t.hard_limit_ms FROM time_limits l FULL JOIN tasks t ON t.name = l.task"
              " WHERE l.task IS NOT NULL OR (NOT $1::boolean AND t.hard_limit_ms IS NOT NULL)"
              " ORDER BY 1",
              1},
    [SET] = {"time_limits_set",
             "INSERT INTO time_limits (task, soft_ms, hard_ms, set_by)"
             " VALUES ($1, nullif($2::bigint, 0), nullif($3::bigint, 0), $4)"
             " ON CONFLICT (task) DO UPDATE SET soft_ms = excluded.soft_ms,"
             " hard_ms = excluded.hard_ms, set_at = now(), set_by = $4",
             4},
    [FORGET] = {"time_limits_forget", "DELETE FROM time_limits WHERE task = $1", 1},
    [DECLARE] = {"time_limits_declare",
                 "UPDATE tasks SET soft_limit_ms = $2::bigint, hard_limit_ms = $3::bigint"
                 " WHERE name = $1 AND (soft_limit_ms, hard_limit_ms)"
                 " IS DISTINCT FROM ($2::bigint, $3::bigint)",
                 3},
};

DB_STATEMENTS(time_limits, statements);

void time_limit_list_release(struct time_limit_list *list)
{
    mem_free(list->items);
    *list = (struct time_limit_list){0};
}

int64_t time_limit_soft_ms(const struct time_limit *limit)
{
    int64_t soft_ms = limit->soft_ms ? limit->soft_ms : limit->own_soft_ms;

    return limit->hard_ms && soft_ms > limit->hard_ms ? limit->hard_ms : soft_ms;
}

int64_t time_limit_hard_ms(const struct time_limit *limit)
{
    int64_t hard_ms = limit->hard_ms ? limit->hard_ms : limit->own_hard_ms;

    return limit->soft_ms && !limit->hard_ms && hard_ms < limit->soft_ms ? limit->soft_ms : hard_ms;
}

enum err_code time_limits_list(struct db *db, bool set_only, struct time_limit_list *ret_list,
                               struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[LIST], DB_ARGS(DB_BOOL(set_only)), &rows, e);

    if (rc)
        return rc;
    ret_list->count = (size_t)db_rows(rows);
    ret_list->items = mem_array(ret_list->count, sizeof ret_list->items[0]);
    for (int row = 0; row < db_rows(rows); row++) {
        struct time_limit *limit = &ret_list->items[row];

        (void)snprintf(limit->task, sizeof limit->task, "%s", db_text(rows, row, 0));
        limit->soft_ms = db_int(rows, row, 1);
        limit->hard_ms = db_int(rows, row, 2);
        limit->own_soft_ms = db_int(rows, row, 3);
        limit->own_hard_ms = db_int(rows, row, 4);
    }
    return ERR_OK;
}

enum err_code time_limits_set(struct db *db, const char *task, int64_t soft_ms, int64_t hard_ms,
                              const char *by, struct err *e)
{
    if (!text_is_name(task))
        return err_set(e, ERR_INVALID, "\"%.40s\" is no name of a task", task);
    if (soft_ms < 0 || hard_ms < 0 || soft_ms > TIME_LIMIT_MS_MAX || hard_ms > TIME_LIMIT_MS_MAX)
        return err_set(e, ERR_INVALID, "a time limit is a millisecond to a year");
    if (soft_ms && hard_ms && soft_ms > hard_ms)
        return err_set(e, ERR_INVALID, "the soft limit is beyond the hard one");
    if (!soft_ms && !hard_ms)
        return db_exec(db, &statements[FORGET], DB_ARGS(DB_TEXT(task)), NULL, e);
    return db_exec(db, &statements[SET],
                   DB_ARGS(DB_TEXT(task), DB_INT(soft_ms), DB_INT(hard_ms), DB_TEXT(by)), NULL, e);
}

enum err_code time_limits_declare(struct db *db, const char *task, int64_t soft_ms, int64_t hard_ms,
                                  struct err *e)
{
    return db_exec(db, &statements[DECLARE],
                   DB_ARGS(DB_TEXT(task), DB_INT(soft_ms), DB_INT(hard_ms)), NULL, e);
}
