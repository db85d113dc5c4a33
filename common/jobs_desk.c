/* SPDX-License-Identifier: MIT
 *
 * What the dashboard's desk asks of jobs; see jobs_desk.h. Each statement looks at one row by its
 * key, or at a bounded number of dead ones.
 */
#include "common/jobs_desk.h"

#include <string.h>

#include "common/buf.h"
#include "common/dead_groups.h"
#include "common/mem.h"
#include "common/statements.h"

enum {
    TASK,
    KNOWN,
    STATE,
    RETRYING,
    REVOKE_WAITING,
    DEAD_OF,
    DEAD_REASON,
};

enum { ARRAY_MAX = 4 * 1024 * 1024 };

static const struct db_stmt statements[] = {
    [TASK] = {"tasks_find", "SELECT max_attempts FROM tasks WHERE name = $1", 1},
    [KNOWN] = {"tasks_list_known", "SELECT name FROM tasks ORDER BY name", 0},
    [STATE] = {"jobs_state_of", "SELECT state FROM jobs WHERE id = $1", 1},
    [RETRYING] = {"jobs_retrying",
                  "SELECT queue, count(*) FROM (SELECT queue FROM jobs WHERE listed_state = 'RETRY'"
                  " ORDER BY id DESC LIMIT 20000) r GROUP BY queue",
                  0},
    [REVOKE_WAITING] = {"jobs_revoke_waiting",
                        "UPDATE jobs j SET state = 'REVOKED', finished_at = now(),"
                        " error = 'revoked' FROM (SELECT id FROM jobs"
                        " WHERE id = ANY ($1::uuid[]) AND state IN ('PENDING', 'RETRY')"
                        " ORDER BY id FOR NO KEY UPDATE) h WHERE j.id = h.id RETURNING j.id",
                        1},
    [DEAD_OF] = {"jobs_dead_of",
                 "SELECT id, (extract(epoch FROM finished_at) * 1000000)::bigint FROM jobs"
                 " WHERE " SQL_DEAD " AND finished_at <= to_timestamp($3::bigint / 1000000.0)"
                 " AND (finished_at, id) > (to_timestamp($5::bigint / 1000000.0), $6::uuid)"
                 " AND task = $1 AND " SQL_DEAD_REASON " = $2 AND ($7::uuid IS NULL OR id <> $7)"
                 " ORDER BY finished_at, id LIMIT $4",
                 7},
    [DEAD_REASON] = {"jobs_dead_reason",
                     "SELECT " SQL_DEAD_REASON
                     " FROM jobs WHERE id = $1 AND task = $2 AND (" SQL_DEAD
                     ") IS TRUE", /* by its id, not among the dead */
                     2},
};

DB_STATEMENTS(jobs_desk, statements);

enum err_code tasks_find(struct db *db, const char *name, struct known_task *ret_task,
                         struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[TASK], DB_ARGS(DB_TEXT(name)), &rows, e);

    if (rc)
        return rc;
    *ret_task = (struct known_task){0};
    if (db_rows(rows) > 0)
        *ret_task = (struct known_task){true, (int)db_int(rows, 0, 0)};
    return ERR_OK;
}

enum err_code tasks_list_known(struct db *db, struct db_result **ret_rows, struct err *e)
{
    return db_query(db, &statements[KNOWN], DB_NO_ARGS, ret_rows, e);
}

enum err_code jobs_state_of(struct db *db, const struct uuid *id, enum job_state *ret_state,
                            struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[STATE], DB_ARGS(DB_TEXT(id->text)), &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) == 0 || !job_state_parse(db_text(rows, 0, 0), ret_state))
        return err_set(e, ERR_NOT_FOUND, "there is no job %s", id->text);
    return ERR_OK;
}

enum err_code jobs_list_retrying(struct db *db, struct db_result **ret_rows, struct err *e)
{
    return db_query(db, &statements[RETRYING], DB_NO_ARGS, ret_rows, e);
}

enum err_code jobs_revoke_waiting(struct db *db, const struct uuid *ids, size_t count,
                                  bool *ret_revoked, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf array;
    enum err_code rc;

    buf_init(&array, ARRAY_MAX);
    for (size_t i = 0; i < count; i++)
        db_array_add(&array, ids[i].text);
    db_array_end(&array);
    rc = db_query(db, &statements[REVOKE_WAITING], DB_ARGS(DB_TEXT(array.data)), &rows, e);
    for (size_t i = 0; !rc && i < count; i++) {
        ret_revoked[i] = false;
        for (int row = 0; row < db_rows(rows) && !ret_revoked[i]; row++)
            ret_revoked[i] = strcmp(db_text(rows, row, 0), ids[i].text) == 0;
    }
    return rc;
}

enum err_code jobs_dead_of(struct db *db, const struct dead_walk *walk, int max,
                           struct db_result **ret_rows, struct err *e)
{
    return db_query(db, &statements[DEAD_OF],
                    DB_ARGS(DB_TEXT(walk->task), DB_TEXT(walk->reason), DB_INT(walk->until_us),
                            DB_INT(max), DB_INT(walk->after_us), DB_TEXT(walk->after_id.text),
                            DB_TEXT(*walk->except.text ? walk->except.text : NULL)),
                    ret_rows, e);
}

enum err_code jobs_dead_reason(struct db *db, const struct uuid *id, const char *task,
                               char **ret_reason, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(db, &statements[DEAD_REASON], DB_ARGS(DB_TEXT(id->text), DB_TEXT(task)), &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no dead task %s", id->text);
    *ret_reason = mem_dup(db_text(rows, 0, 0));
    return ERR_OK;
}
