/* SPDX-License-Identifier: MIT
 *
 * What people do to jobs and queues; see jobs_control.h. The moves are those of job_may_become(),
 * and the trigger jobs_transition enforces them. Bulk work takes one batch a call and skips rows
 * that somebody else has locked: they are just changing.
 */
#include "common/jobs_control.h"

#include <string.h>

#include "common/buf.h"
#include "common/flows.h"
#include "common/mem.h"
#include "common/statements.h"
#include "common/text.h"

enum {
    REVOKE,
    RELEASE_KEYS,
    LIST_REVOKED,
    RUN_NOW,
    REQUEUE,
    WHY_NOT,
    DELETE,
    REQUEUE_MATCHING,
    COUNT_HELD,
    DELETE_MATCHING,
    COUNT_IN_FLOWS,
    PURGE_READY,
    PURGE_PARKED,
    PURGE_SCHEDULED,
    PAUSE,
    RESUME,
    LIST_PAUSED,
};

enum { ARRAY_MAX = 4 * 1024 * 1024, REQUEUE_TRIES = 20 };

/* Ready now, with the attempts that the task declares, and never fewer than it had. The entry it
 * last came by may still be pending: at its takeover the claim decides which of the two runs. */
#define AGAIN                                                                                      \
    "UPDATE jobs j SET state = 'PENDING', finished_at = NULL, scheduled_at = now(),"               \
    " enqueued_at = now(), parked_on = NULL, max_attempts = greatest(j.max_attempts, j.attempt +"  \
    " coalesce((SELECT t.max_attempts FROM tasks t WHERE t.name = j.task), 10)),"                  \
    " expires_at = CASE WHEN j.expires_at > now() THEN j.expires_at END,"                          \
    " unique_key = f.key, unique_until = CASE WHEN f.key IS NOT NULL THEN j.unique_until END"      \
    " FROM free f WHERE j.id = f.id RETURNING j.id, j.queue, j.priority"

/* A unique key that a finished job takes again, unless its time to live is over. */
#define KEY "CASE WHEN d.unique_until <= now() THEN NULL ELSE d.unique_key END"
/* A count, for which the key is looked up: an EXISTS may read the keys of all that is open. */
#define KEY_IS_HELD                                                                                \
    "(SELECT count(*) FROM jobs o WHERE o.unique_key = " KEY " AND o.finished_at IS NULL) > 0"

/* What can never run again, and what cannot while another has its key. */
#define MAY_RUN_AGAIN                                                                              \
    "payload IS NULL AND d.superseded IS NULL AND NOT " KEY_IS_HELD " AND "                        \
    "NOT " FLOWS_INPUT_IS_GONE

/* Those of `found` that can run again: of several with one key, the first. */
#define FREE                                                                                       \
    "), free AS (SELECT id, key FROM (SELECT id, key,"                                             \
    " row_number() OVER (PARTITION BY key ORDER BY id) AS place FROM found) f"                     \
    " WHERE key IS NULL OR place = 1) "

/* $1 task, $2 queue, $3 beginning of the error, $4 until, $5 at most */
#define IS_DEAD                                                                                    \
    " FROM jobs d WHERE listed_state = 'FAILURE'"                                                  \
    " AND finished_at <= to_timestamp($4::bigint / 1000000.0)"                                     \
    " AND ($1::text IS NULL OR task = $1) AND ($2::text IS NULL OR queue = $2)"                    \
    " AND ($3::text IS NULL OR starts_with(error, $3))"
#define OLDEST " ORDER BY finished_at LIMIT $5 FOR NO KEY UPDATE SKIP LOCKED"

#define PURGED                                                                                     \
    "UPDATE jobs SET state = 'REVOKED', finished_at = now(), error = 'purged from its queue'"      \
    " WHERE id = ANY (ARRAY(SELECT id FROM jobs WHERE queue = $1 AND finished_at IS NULL"          \
    " AND state IN ('PENDING', 'RETRY')"

static const struct db_stmt statements[] = {
    /* An attempt that is cut off leaves its error, like every one that does not end in success, and
     * its worker is told. With 'terminated' ($2) also what was revoked while it ran, since it may
     * run still. */
    [REVOKE] =
        {"jobs_revoke",
         "WITH held AS ("
         " SELECT id, state, attempt, worker, started_at FROM jobs"
         " WHERE id = ANY ($1::uuid[]) AND (state IN ('PENDING', 'RETRY', 'STARTED')"
         " OR ($2::text = 'terminated' AND state = 'REVOKED' AND error = 'revoked'"
         "     AND started_at IS NOT NULL))"
         " ORDER BY id FOR NO KEY UPDATE"
         "), cut_off AS ("
         " INSERT INTO job_errors (job_id, attempt, worker, started_at, error)"
         " SELECT id, attempt, worker, started_at, $2 || ' during this attempt'"
         " FROM held WHERE state = 'STARTED' ON CONFLICT DO NOTHING"
         "), told AS ("
         " SELECT pg_notify('till_control', 'revoked')"
         " FROM held WHERE state IN ('STARTED', 'REVOKED') LIMIT 1"
         ") UPDATE jobs j SET state = 'REVOKED', finished_at = coalesce(j.finished_at, now()),"
         " error = $2 FROM held h WHERE j.id = h.id"
         " RETURNING j.id, (SELECT count(*) FROM told)",
         2},
    [LIST_REVOKED] = {"jobs_list_revoked",
                      "SELECT id, error = 'terminated' FROM jobs"
                      " WHERE id = ANY ($1::uuid[]) AND state = 'REVOKED'",
                      1},
    /* "Not before" becomes now, too: people read it. */
    [RUN_NOW] = {"jobs_run_now",
                 "UPDATE jobs j SET enqueued_at = now(), scheduled_at = least(scheduled_at, now())"
                 " FROM (SELECT id FROM jobs WHERE id = ANY ($1::uuid[])"
                 " AND state IN ('PENDING', 'RETRY') AND enqueued_at IS NULL AND waits IS NULL"
                 " AND parked_on IS NULL ORDER BY id FOR NO KEY UPDATE) h"
                 " WHERE j.id = h.id RETURNING j.id, j.queue, j.priority",
                 1},
    /* Keys whose time to live is over, but that nobody has asked for since. */
    [RELEASE_KEYS] = {"jobs_release_keys",
                      "UPDATE jobs SET unique_key = NULL, unique_until = NULL"
                      " WHERE id = ANY (ARRAY(SELECT id FROM jobs WHERE unique_key IS NOT NULL"
                      " AND finished_at IS NULL AND unique_until <= now()"
                      " FOR NO KEY UPDATE SKIP LOCKED))",
                      0},
    [REQUEUE] = {"jobs_requeue",
                 "WITH found AS (SELECT id, " KEY " AS key FROM jobs d"
                 " WHERE id = ANY ($1::uuid[])"
                 " AND (state = 'FAILURE' OR (state = 'REVOKED' AND NOT $2::bool))"
                 " AND " MAY_RUN_AGAIN " ORDER BY id FOR NO KEY UPDATE" FREE AGAIN,
                 2},
    [WHY_NOT] =
        {"jobs_why_not_requeued",
         "SELECT CASE WHEN d.payload IS NOT NULL THEN 'it could not be decoded'"
         " WHEN d.superseded IS NOT NULL THEN format("
         "  'a newer job took its unique key \"%s\" while it ran: enqueue it anew', d.superseded)"
         " WHEN " FLOWS_INPUT_IS_GONE
         " THEN 'jobs before it in its flow were deleted, and with them"
         " what they gave it: declare the flow anew'"
         " ELSE (SELECT format('unique key \"%s\" is held by job %s', o.unique_key, o.id)"
         "  FROM jobs o WHERE o.unique_key = " KEY " AND o.finished_at IS NULL) END"
         " FROM jobs d WHERE d.id = $1 AND d.state IN ('FAILURE', 'REVOKED')",
         1},
    [DELETE] = {"jobs_delete_dead",
                "DELETE FROM jobs j WHERE id = ANY ($1::uuid[]) AND state = 'FAILURE'"
                " AND " FLOWS_JOB_MAY_GO " RETURNING id",
                1},
    [REQUEUE_MATCHING] = {"jobs_requeue_matching",
                          "WITH found AS (SELECT id, " KEY " AS key" IS_DEAD
                          " AND " MAY_RUN_AGAIN OLDEST FREE AGAIN,
                          5},
    [COUNT_HELD] = {"jobs_count_held",
                    "SELECT count(*)" IS_DEAD " AND payload IS NULL AND (d.superseded IS NOT NULL"
                    " OR " FLOWS_INPUT_IS_GONE " OR (d.unique_key IS NOT NULL AND " KEY_IS_HELD
                    "))",
                    4},
    [DELETE_MATCHING] = {"jobs_delete_matching",
                         "DELETE FROM jobs WHERE id = ANY (ARRAY(SELECT id" IS_DEAD
                         " AND " FLOWS_MAY_GO_OF("d") OLDEST "))",
                         5},
    [COUNT_IN_FLOWS] = {"jobs_count_in_flows",
                        "SELECT count(*)" IS_DEAD " AND NOT " FLOWS_MAY_GO_OF("d"), 4},
    [PURGE_READY] =
        {"jobs_purge_ready",
         PURGED
         " AND enqueued_at IS NOT NULL AND enqueued_at <= to_timestamp($2::bigint / 1000000.0)"
         " ORDER BY priority, enqueued_at LIMIT $3"
         " FOR NO KEY UPDATE SKIP LOCKED))",
         3},
    [PURGE_PARKED] = {"jobs_purge_parked",
                      PURGED " AND parked_on IS NOT NULL AND enqueued_at IS NULL"
                             " AND created_at <= to_timestamp($2::bigint / 1000000.0)"
                             " ORDER BY parked_on LIMIT $3"
                             " FOR NO KEY UPDATE SKIP LOCKED))",
                      3},
    [PURGE_SCHEDULED] = {"jobs_purge_scheduled",
                         PURGED " AND enqueued_at IS NULL AND waits IS NULL"
                                " AND created_at <= to_timestamp($2::bigint / 1000000.0)"
                                " ORDER BY scheduled_at LIMIT $3"
                                " FOR NO KEY UPDATE SKIP LOCKED))",
                         3},
    [PAUSE] = {"queues_pause",
               "INSERT INTO queues AS q (name, paused_at, paused_by) VALUES ($1, now(), $2)"
               " ON CONFLICT (name) DO UPDATE SET paused_at = now(), paused_by = $2"
               " WHERE q.paused_at IS NULL",
               2},
    [RESUME] = {"queues_resume",
                "UPDATE queues SET paused_at = NULL, paused_by = NULL"
                " WHERE name = $1 AND paused_at IS NOT NULL",
                1},
    [LIST_PAUSED] = {"queues_list_paused",
                     "SELECT name FROM queues WHERE paused_at IS NOT NULL ORDER BY name", 0},
};

DB_STATEMENTS(jobs_control, statements);

static void add_ids(const struct uuid *ids, size_t count, struct buf *array)
{
    buf_init(array, ARRAY_MAX);
    for (size_t i = 0; i < count; i++)
        db_array_add(array, ids[i].text);
    db_array_end(array);
}

/* Runs a statement over ids, and a word where it takes one, that returns those it has changed. */
static enum err_code change(struct db *db, const struct db_stmt *stmt, const struct uuid *ids,
                            size_t count, const char *word, bool *ret_changed, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf array;
    enum err_code rc;

    add_ids(ids, count, &array);
    rc = word ? db_query(db, stmt, DB_ARGS(DB_TEXT(array.data), DB_TEXT(word)), &rows, e)
              : db_query(db, stmt, DB_ARGS(DB_TEXT(array.data)), &rows, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++) {
        ret_changed[i] = false;
        for (int row = 0; row < db_rows(rows) && !ret_changed[i]; row++)
            ret_changed[i] = strcmp(db_text(rows, row, 0), ids[i].text) == 0;
    }
    return ERR_OK;
}

enum err_code jobs_revoke(struct db *db, const struct uuid *ids, size_t count, bool *ret_revoked,
                          struct err *e)
{
    return change(db, &statements[REVOKE], ids, count, "revoked", ret_revoked, e);
}

enum err_code jobs_terminate(struct db *db, const struct uuid *ids, size_t count, bool *ret_revoked,
                             struct err *e)
{
    return change(db, &statements[REVOKE], ids, count, "terminated", ret_revoked, e);
}

enum err_code jobs_list_revoked(struct db *db, const char *ids, struct db_result **ret_rows,
                                struct err *e)
{
    return db_query(db, &statements[LIST_REVOKED], DB_ARGS(DB_TEXT(ids)), ret_rows, e);
}

enum err_code jobs_run_now(struct db *db, const struct uuid *ids, size_t count,
                           struct job_list *ret_jobs, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf array;
    enum err_code rc;

    add_ids(ids, count, &array);
    rc = db_query(db, &statements[RUN_NOW], DB_ARGS(DB_TEXT(array.data)), &rows, e);
    if (!rc)
        *ret_jobs = job_list_from_rows(rows);
    return rc;
}

enum err_code jobs_delete_dead(struct db *db, const struct uuid *ids, size_t count,
                               bool *ret_deleted, struct err *e)
{
    return change(db, &statements[DELETE], ids, count, NULL, ret_deleted, e);
}

enum err_code jobs_release_keys(struct db *db, struct err *e)
{
    return db_exec(db, &statements[RELEASE_KEYS], DB_NO_ARGS, NULL, e);
}

/* Another job may take a key between the look at it and the change: then it is seen at the next
 * try. So may somebody who takes several keys the other way round (a deadlock). Not within a
 * transaction, which such a clash has ended, and which is not to hold on to the keys of others. */
static enum err_code requeue(struct db *db, const struct db_stmt *stmt, struct db_args args,
                             struct job_list *ret_jobs, struct err *e)
{
    enum err_code rc = db_in_transaction(db) ? ERR_OK : jobs_release_keys(db, e);

    for (int tries = 1; !rc; tries++) {
        AUTO(db_result_free) struct db_result *rows = NULL;
        struct err own = {0};

        rc = db_query(db, stmt, args, &rows, &own);
        if (!rc) {
            *ret_jobs = job_list_from_rows(rows);
            break;
        }
        if ((rc == ERR_CONFLICT || db_was_undone(db)) && tries < REQUEUE_TRIES &&
            !db_in_transaction(db))
            rc = ERR_OK;
        else
            (void)err_set_detail(e, rc, own.detail, "%s", own.text);
    }
    return rc;
}

enum err_code jobs_requeue(struct db *db, const struct uuid *ids, size_t count, bool dead_only,
                           struct job_list *ret_jobs, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf array;

    add_ids(ids, count, &array);
    return requeue(db, &statements[REQUEUE], DB_ARGS(DB_TEXT(array.data), DB_BOOL(dead_only)),
                   ret_jobs, e);
}

enum err_code jobs_why_not_requeued(struct db *db, const struct uuid *id, char **ret_why,
                                    struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[WHY_NOT], DB_ARGS(DB_TEXT(id->text)), &rows, e);

    if (rc)
        return rc;
    *ret_why = db_rows(rows) > 0 && !db_is_null(rows, 0, 0) ? mem_dup(db_text(rows, 0, 0)) : NULL;
    return ERR_OK;
}

#define DEAD_ARGS(filter, max)                                                                     \
    DB_ARGS(DB_TEXT((filter)->task), DB_TEXT((filter)->queue), DB_TEXT((filter)->error),           \
            DB_INT((filter)->until_us), DB_INT(max))

enum err_code jobs_requeue_matching(struct db *db, const struct dead_filter *filter, int max,
                                    struct job_list *ret_jobs, struct err *e)
{
    return requeue(db, &statements[REQUEUE_MATCHING], DEAD_ARGS(filter, max), ret_jobs, e);
}

static enum err_code count_dead(struct db *db, const struct db_stmt *stmt,
                                const struct dead_filter *filter, int64_t *ret_count, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, stmt,
                                DB_ARGS(DB_TEXT(filter->task), DB_TEXT(filter->queue),
                                        DB_TEXT(filter->error), DB_INT(filter->until_us)),
                                &rows, e);

    if (!rc)
        *ret_count = db_int(rows, 0, 0);
    return rc;
}

enum err_code jobs_count_held(struct db *db, const struct dead_filter *filter, int64_t *ret_count,
                              struct err *e)
{
    return count_dead(db, &statements[COUNT_HELD], filter, ret_count, e);
}

enum err_code jobs_count_in_flows(struct db *db, const struct dead_filter *filter,
                                  int64_t *ret_count, struct err *e)
{
    return count_dead(db, &statements[COUNT_IN_FLOWS], filter, ret_count, e);
}

enum err_code jobs_delete_matching(struct db *db, const struct dead_filter *filter, int max,
                                   int64_t *ret_count, struct err *e)
{
    return db_exec(db, &statements[DELETE_MATCHING], DEAD_ARGS(filter, max), ret_count, e);
}

enum err_code jobs_purge(struct db *db, const char *queue, bool scheduled, int64_t until_us,
                         int max, int64_t *ret_count, struct err *e)
{
    int64_t parked = 0;
    enum err_code rc =
        db_exec(db, &statements[scheduled ? PURGE_SCHEDULED : PURGE_READY],
                DB_ARGS(DB_TEXT(queue), DB_INT(until_us), DB_INT(max)), ret_count, e);

    if (rc || scheduled || *ret_count == max) /* there may be more of the first kind */
        return rc;
    rc = db_exec(db, &statements[PURGE_PARKED],
                 DB_ARGS(DB_TEXT(queue), DB_INT(until_us), DB_INT(max - *ret_count)), &parked, e);
    *ret_count += parked;
    return rc;
}

enum err_code queues_pause(struct db *db, const char *queue, const char *by, bool *ret_changed,
                           struct err *e)
{
    int64_t touched = 0;
    enum err_code rc;

    if (!text_is_name(queue))
        return err_set(e, ERR_INVALID, "\"%.40s\" is no name of a queue", queue);
    rc = db_exec(db, &statements[PAUSE], DB_ARGS(DB_TEXT(queue), DB_TEXT(by)), &touched, e);
    if (!rc)
        *ret_changed = touched > 0;
    return rc;
}

enum err_code queues_resume(struct db *db, const char *queue, bool *ret_changed, struct err *e)
{
    int64_t touched = 0;
    enum err_code rc = db_exec(db, &statements[RESUME], DB_ARGS(DB_TEXT(queue)), &touched, e);

    if (!rc)
        *ret_changed = touched > 0;
    return rc;
}

enum err_code queues_list_paused(struct db *db, struct db_result **ret_rows, struct err *e)
{
    return db_query(db, &statements[LIST_PAUSED], DB_NO_ARGS, ret_rows, e);
}

enum err_code queues_listen(struct db *db, struct err *e)
{
    return db_run_script(db, "LISTEN till_control", e);
}
