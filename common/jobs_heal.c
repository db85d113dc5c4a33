/* SPDX-License-Identifier: MIT
 *
 * Finding rows that time, a crash or a lost Redis has left behind; see jobs_heal.h. Rows that
 * somebody else has locked are skipped: whoever holds them is dealing with them.
 */
#include "common/jobs_heal.h"

#include "common/clock.h"
#include "common/jobs_run.h"
#include "common/jobs_succeed.h"
#include "common/mem.h"
#include "common/statements.h"

enum {
    EXPIRE,
    EXPIRE_WAITING,
    TAKE_DUE,
    NEXT_DUE,
    WAITING_STREAMS,
    TAKE_LOST,
    COUNT_MEANT,
    BUSY_WORKERS,
    TAKE_ORPHANS,
    TAKE_PASSED,
    TAKE_OWN_PASSED,
    NOTE_OVERRUN,
    SERVER_TIME
};

/* What takes back the rows of `orphans`: the attempt is lost, which is kept as an error. */
#define TAKE_BACK(what)                                                                            \
    "), kept AS ("                                                                                 \
    " INSERT INTO job_errors (job_id, attempt, worker, started_at, error)"                         \
    " SELECT id, attempt, worker, started_at, '" what " this attempt'"                             \
    " FROM orphans WHERE known IS NULL ON CONFLICT DO NOTHING"                                     \
    "), taken AS ("                                                                                \
    " UPDATE jobs j SET enqueued_at = now(),"                                                      \
    " error = coalesce(o.known, '" what " the last attempt'),"                                     \
    " state = CASE WHEN o.attempt < o.max_attempts THEN 'PENDING' ELSE 'FAILURE' "                 \
    "END::job_state,"                                                                              \
    " finished_at = CASE WHEN o.attempt < o.max_attempts THEN NULL ELSE now() END"                 \
    " FROM orphans o WHERE j.id = o.id RETURNING j.id, j.queue, j.priority, j.state"               \
    ") SELECT id, queue, priority FROM taken WHERE state = 'PENDING'"

/* Of worker $1. */
#define PASSED(known)                                                                              \
    "WITH orphans AS ("                                                                            \
    " SELECT id, attempt, max_attempts, worker, started_at, " known " AS known FROM jobs j"        \
    " WHERE id = ANY (ARRAY(SELECT id FROM started_jobs WHERE worker = $1))"                       \
    " AND state = 'STARTED' AND worker = $1 AND starts_with(delivery, '" PASSED_PREFIX "')"        \
    " ORDER BY id FOR NO KEY UPDATE" TAKE_BACK("the worker died during")

/* What waits for its time and for nothing else: no other member of its flow, no place under a
 * limit. */
#define STANDS_ALONE                                                                               \
    " enqueued_at IS NULL AND finished_at IS NULL AND waits IS NULL AND parked_on IS NULL"

/* Meant to stand in the stream of queue $1 and priority $2 since a time that is... */
#define LOST_ROWS                                                                                  \
    "SELECT id FROM jobs WHERE queue = $1 AND priority = $2 AND enqueued_at IS NOT NULL"           \
    " AND finished_at IS NULL AND state IN ('PENDING', 'RETRY') AND enqueued_at "
#define LOCKED_FIRST " ORDER BY enqueued_at LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED"

/* An UPDATE returns rows as it meets them: by their ids, which a producer may have chosen. They go
 * into the streams, and so are run, in the order in which they were due. */
#define IN_THEIR_ORDER                                                                             \
    " RETURNING id, queue, priority, scheduled_at)"                                                \
    " SELECT id, queue, priority FROM taken ORDER BY scheduled_at, id"

#define EXPIRED "expires_at <= now() AND finished_at IS NULL AND state IN ('PENDING', 'RETRY')"
/* Not "waits" alone, which would read all that wait. */
#define EXPIRE_SOME(which)                                                                         \
    "UPDATE jobs SET state = 'REVOKED', finished_at = now(), error = 'expired'"                    \
    " WHERE id = ANY (ARRAY(SELECT id FROM jobs WHERE " EXPIRED " AND " which                      \
    " ORDER BY expires_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED))"

#define UNTIL(at)                                                                                  \
    " CASE WHEN " at " IS NOT NULL THEN greatest(0,"                                               \
    " (extract(epoch FROM " at " - clock_timestamp()) * 1000000)::bigint) END"

static const struct db_stmt statements[] = {
    /* The rest first, with the news whether there are such as wait for others of their flow; these
     * in a transaction of their own: the end of the rest locks gates, and who holds a gate may be
     * about to wake one that waits. */
    [EXPIRE] = {"jobs_expire",
                "WITH gone AS (" EXPIRE_SOME(
                    "waits IS NULL") " RETURNING id)"
                                     " SELECT (SELECT count(*) FROM gone), EXISTS (SELECT FROM "
                                     "jobs WHERE " EXPIRED " AND coalesce(waits, false))",
                1},
    [EXPIRE_WAITING] = {"jobs_expire_waiting", EXPIRE_SOME("coalesce(waits, false)"), 1},
    [TAKE_DUE] = {"jobs_take_due",
                  "WITH taken AS (UPDATE jobs SET enqueued_at = now() WHERE id = ANY (ARRAY("
                  " SELECT id FROM jobs WHERE" STANDS_ALONE
                  " AND scheduled_at <= now() ORDER BY scheduled_at LIMIT $1"
                  " FOR NO KEY UPDATE SKIP LOCKED))" IN_THEIR_ORDER,
                  1},
    /* When the first is due, and when the first of those that are not due yet. greatest() alone
     * would make 0, which is now, of NULL, which is never. */
    [NEXT_DUE] = {"jobs_next_due",
                  "SELECT" UNTIL("min(scheduled_at)") ", (SELECT" UNTIL(
                      "min(scheduled_at)") " FROM jobs WHERE" STANDS_ALONE
                                           " AND scheduled_at > now())"
                                           " FROM jobs WHERE" STANDS_ALONE,
                  0},
    /* A loose index scan: one step for each queue and priority, however many rows wait. */
    [WAITING_STREAMS] = {"jobs_waiting_streams",
                         "WITH RECURSIVE streams AS ("
                         " (SELECT queue, priority FROM jobs"
                         "  WHERE enqueued_at IS NOT NULL AND finished_at IS NULL"
                         "  ORDER BY queue, priority LIMIT 1)"
                         " UNION ALL"
                         " SELECT n.queue, n.priority FROM streams s, LATERAL ("
                         "  SELECT queue, priority FROM jobs"
                         "  WHERE enqueued_at IS NOT NULL AND finished_at IS NULL"
                         "  AND (queue, priority) > (s.queue, s.priority)"
                         "  ORDER BY queue, priority LIMIT 1) n"
                         ") SELECT '', queue, priority FROM streams",
                         0},
    /* A time to come is that of a producer whose clock is wrong: nobody knows what became of the
     * entry, and a second one does no harm. */
    [TAKE_LOST] = {"jobs_take_lost",
                   "WITH taken AS (UPDATE jobs SET enqueued_at = now() WHERE id = ANY ("
                   " ARRAY(" LOST_ROWS "< to_timestamp($3::bigint / 1000000.0)" LOCKED_FIRST ") ||"
                   " ARRAY(" LOST_ROWS "> now() + interval '1 minute'" LOCKED_FIRST
                   "))" IN_THEIR_ORDER,
                   4},
    [COUNT_MEANT] = {"jobs_count_meant",
                     "SELECT count(*) FROM (" LOST_ROWS "IS NOT NULL LIMIT $3) x", 3},
    [BUSY_WORKERS] = {"jobs_busy_workers",
                      "SELECT DISTINCT worker FROM started_jobs"
                      " WHERE started_at < now() - $1::bigint * interval '1 microsecond'",
                      1},
    [TAKE_ORPHANS] =
        {"jobs_take_orphans",
         "WITH orphans AS ("
         " SELECT id, attempt, max_attempts, worker, started_at, NULL AS known FROM jobs"
         " WHERE id = ANY (ARRAY(SELECT id FROM started_jobs WHERE worker = $1))"
         " AND state = 'STARTED' AND worker = $1 AND id <> ALL ($4::uuid[])"
         " AND started_at < now() - $2::bigint * interval '1 microsecond'"
         " ORDER BY id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED" TAKE_BACK(
             "the worker gave no sign of life during"),
         4},
    [TAKE_PASSED] = {"jobs_take_passed", PASSED("NULL"), 1},
    [TAKE_OWN_PASSED] = {"jobs_take_own_passed", PASSED(JOB_CUT_OFF_ERROR), 1},
    [NOTE_OVERRUN] = {"jobs_note_overrun",
                      "INSERT INTO job_errors (job_id, attempt, worker, started_at, error)"
                      " SELECT id, attempt, worker, started_at, 'overran its hard time limit of '"
                      " || (trim_scale($3::bigint / 1000000.0))::text || ' s during this attempt'"
                      " FROM jobs j WHERE id = $1 AND attempt = $2 AND state = 'STARTED'"
                      " AND " JOB_CUT_OFF_ERROR " IS NULL ON CONFLICT DO NOTHING",
                      3},
    [SERVER_TIME] = {"jobs_server_time",
                     "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", 0},
};

DB_STATEMENTS(jobs_heal, statements);

void name_list_release(struct name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        mem_free(list->items[i]);
    mem_free(list->items);
    *list = (struct name_list){0};
}

/* Runs a statement that gives (id, queue, priority). */
static enum err_code take(struct db *db, const struct db_stmt *stmt, struct db_args args,
                          struct job_list *ret_jobs, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, stmt, args, &rows, e);

    if (!rc)
        *ret_jobs = job_list_from_rows(rows);
    return rc;
}

enum err_code jobs_expire(struct db *db, int max, int64_t *ret_count, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    int64_t waiting = 0;
    enum err_code rc = db_query(db, &statements[EXPIRE], DB_ARGS(DB_INT(max)), &rows, e);

    if (!rc && db_bool(rows, 0, 1))
        rc = db_exec(db, &statements[EXPIRE_WAITING], DB_ARGS(DB_INT(max)), &waiting, e);
    if (!rc)
        *ret_count = db_int(rows, 0, 0) + waiting;
    return rc;
}

enum err_code jobs_take_due(struct db *db, int max, struct job_list *ret_jobs, struct err *e)
{
    return take(db, &statements[TAKE_DUE], DB_ARGS(DB_INT(max)), ret_jobs, e);
}

enum err_code jobs_next_due(struct db *db, int64_t *ret_wait_us, int64_t *ret_later_us,
                            struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[NEXT_DUE], DB_NO_ARGS, &rows, e);

    if (rc)
        return rc;
    *ret_wait_us = db_is_null(rows, 0, 0) ? -1 : db_int(rows, 0, 0);
    *ret_later_us = db_is_null(rows, 0, 1) ? -1 : db_int(rows, 0, 1);
    return ERR_OK;
}

enum err_code jobs_list_waiting_streams(struct db *db, struct job_list *ret_streams, struct err *e)
{
    return take(db, &statements[WAITING_STREAMS], DB_NO_ARGS, ret_streams, e);
}

enum err_code jobs_take_lost(struct db *db, const char *queue, enum job_priority priority,
                             int64_t before_us, int max, struct job_list *ret_jobs, struct err *e)
{
    return take(db, &statements[TAKE_LOST],
                DB_ARGS(DB_TEXT(queue), DB_INT(priority), DB_INT(before_us), DB_INT(max)), ret_jobs,
                e);
}

enum err_code jobs_count_meant(struct db *db, const char *queue, enum job_priority priority,
                               int64_t max, int64_t *ret_count, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[COUNT_MEANT],
                                DB_ARGS(DB_TEXT(queue), DB_INT(priority), DB_INT(max)), &rows, e);

    if (!rc)
        *ret_count = db_int(rows, 0, 0);
    return rc;
}

enum err_code jobs_list_busy_workers(struct db *db, int64_t age_us, struct name_list *ret_names,
                                     struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct name_list list = {0};
    enum err_code rc = db_query(db, &statements[BUSY_WORKERS], DB_ARGS(DB_INT(age_us)), &rows, e);

    if (rc)
        return rc;
    list.count = (size_t)db_rows(rows);
    list.items = mem_array(list.count, sizeof list.items[0]);
    for (size_t i = 0; i < list.count; i++)
        list.items[i] = mem_dup(db_text(rows, (int)i, 0));
    *ret_names = list;
    return ERR_OK;
}

enum err_code jobs_take_orphans(struct db *db, const char *worker, const char *held, int64_t age_us,
                                int max, struct job_list *ret_jobs, struct err *e)
{
    return take(db, &statements[TAKE_ORPHANS],
                DB_ARGS(DB_TEXT(worker), DB_INT(age_us), DB_INT(max), DB_TEXT(held)), ret_jobs, e);
}

enum err_code jobs_take_passed(struct db *db, const char *worker, struct job_list *ret_jobs,
                               struct err *e)
{
    return take(db, &statements[TAKE_PASSED], DB_ARGS(DB_TEXT(worker)), ret_jobs, e);
}

enum err_code jobs_take_own_passed(struct db *db, const char *worker, struct job_list *ret_jobs,
                                   struct err *e)
{
    return take(db, &statements[TAKE_OWN_PASSED], DB_ARGS(DB_TEXT(worker)), ret_jobs, e);
}

enum err_code jobs_note_overrun(struct db *db, const struct uuid *id, int attempt, int64_t limit_us,
                                struct err *e)
{
    return db_exec(db, &statements[NOTE_OVERRUN],
                   DB_ARGS(DB_TEXT(id->text), DB_INT(attempt), DB_INT(limit_us)), NULL, e);
}

enum err_code jobs_server_time(struct db *db, int64_t *ret_wall_us, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[SERVER_TIME], DB_NO_ARGS, &rows, e);

    if (!rc)
        *ret_wall_us = db_int(rows, 0, 0);
    return rc;
}
