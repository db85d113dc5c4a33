/* SPDX-License-Identifier: MIT
 *
 * Settling rows of jobs; see jobs_run.h. The worker decides what happened; this file
 * writes it, each write behind the fence `attempt = $n AND state = 'STARTED'`.
 */
#include "common/jobs_run.h"

#include <stdlib.h>

#include "common/buf.h"
#include "common/statements.h"

enum { SUCCEED, SUCCEED_LATER, FAIL, GIVE_BACK, BURY, ADOPT, IS_ANOTHERS };
enum { ARRAY_MAX = 4 * 1024 * 1024, ERROR_MAX = 8 * 1024 };

/* $1 to $3: id, attempt, result. */
#define SUCCEED_ONE                                                                                \
    "UPDATE jobs SET state = 'SUCCESS', finished_at = now(), result = $3::jsonb, error = NULL"     \
    " WHERE id = $1 AND attempt = $2 AND state = 'STARTED'"

static const struct db_stmt statements[] = {
    [SUCCEED] = {"jobs_succeed", SUCCEED_ONE, 3},
    /* The commit goes out with it, so what must not be committed has to fail. */
    [SUCCEED_LATER] = {"jobs_succeed_later",
                       "WITH done AS (" SUCCEED_ONE " RETURNING id)"
                       " SELECT till_not_ours($1, $2) WHERE NOT EXISTS (SELECT FROM done)",
                       3},
    [FAIL] = {"jobs_fail",
              "WITH failed AS ("
              " UPDATE jobs SET error = $4,"
              " state = CASE WHEN $3::bigint < 0 THEN 'FAILURE' ELSE 'RETRY' END::job_state,"
              " finished_at = CASE WHEN $3::bigint < 0 THEN now() END,"
              " scheduled_at = CASE WHEN $3::bigint < 0 THEN scheduled_at"
              "  ELSE now() + $3::bigint * interval '1 microsecond' END,"
              " enqueued_at = CASE WHEN $3::bigint < 0 THEN enqueued_at END, parked_on = NULL"
              " WHERE id = $1 AND attempt = $2 AND state = 'STARTED'"
              " RETURNING id, attempt, worker, started_at, superseded IS NOT NULL AS is_over"
              "), kept AS ("
              " INSERT INTO job_errors (job_id, attempt, worker, started_at, error, detail)"
              " SELECT id, attempt, worker, started_at, $4, $5 FROM failed"
              ") SELECT is_over AND $3::bigint >= 0 FROM failed",
              5},
    /* As far as integers go: a client may have set the most attempts there are. */
    [GIVE_BACK] = {"jobs_give_back",
                   "UPDATE jobs j SET state = 'PENDING', enqueued_at = now(),"
                   " max_attempts = least(j.max_attempts, 2147483646) + 1"
                   " FROM unnest($1::uuid[], $2::int[]) WITH ORDINALITY AS g(id, attempt, n)"
                   " WHERE j.id = g.id AND j.attempt = g.attempt AND j.state = 'STARTED'"
                   " RETURNING g.n",
                   2},
    [BURY] = {"jobs_bury_undecodable",
              "WITH buried AS ("
              " INSERT INTO jobs (id, task, queue, priority, state, enqueued_at, finished_at,"
              " worker, delivery, error, payload)"
              " VALUES ($1, 'undecodable', $2, $3, 'FAILURE', now(), now(), $4, $5, $6, $7::bytea)"
              " ON CONFLICT (id) DO NOTHING RETURNING id"
              ") INSERT INTO job_errors (job_id, attempt, worker, error)"
              " SELECT id, 0, $4, $6 FROM buried",
              7},
    [ADOPT] =
        {"jobs_adopt_fast",
         "WITH adopted AS ("
         " INSERT INTO jobs (id, task, queue, priority, state, attempt, max_attempts, args, kwargs,"
         " scheduled_at, enqueued_at, started_at, finished_at, worker, delivery, error,"
         " headers, traceparent, expires_at)"
         " VALUES ($1, $2, $3, $4,"
         " CASE WHEN $8::bigint < 0 THEN 'FAILURE' ELSE 'RETRY' END::job_state, 1, $5,"
         " coalesce($6::jsonb, '[]'), coalesce($7::jsonb, '{}'), now() + greatest($8::bigint, 0) * "
         "interval '1 microsecond',"
         " CASE WHEN $8::bigint < 0 THEN now() END, now(),"
         " CASE WHEN $8::bigint < 0 THEN now() END, $9, $10, $11, $13::jsonb, $14,"
         " to_timestamp(nullif($15::bigint, 0) / 1000000.0))"
         " ON CONFLICT (id) DO NOTHING RETURNING id, started_at"
         ") INSERT INTO job_errors (job_id, attempt, worker, started_at, error, detail)"
         " SELECT id, 1, $9, started_at, $11, $12 FROM adopted",
         15},
    [IS_ANOTHERS] = {"jobs_id_is_anothers",
                     "SELECT FROM jobs WHERE id = $1 AND NOT (task = $2"
                     " AND args = coalesce($3::jsonb, '[]')"
                     " AND kwargs = coalesce($4::jsonb, '{}'))",
                     4},
};

DB_STATEMENTS(jobs_run, statements);

/* A fenced write that touched nothing: the attempt is not ours any more. */
static enum err_code check_fence(enum err_code rc, int64_t touched, const struct attempt *attempt,
                                 struct err *e)
{
    if (rc || touched > 0)
        return rc;
    return err_set(e, ERR_CONFLICT, "attempt %d of job %s was taken over or cancelled",
                   attempt->number, attempt->id.text);
}

enum err_code jobs_succeed(struct db *db, const struct attempt *attempt, const char *result,
                           struct err *e)
{
    int64_t touched = 0;
    enum err_code rc = db_exec(
        db, &statements[SUCCEED],
        DB_ARGS(DB_TEXT(attempt->id.text), DB_INT(attempt->number), DB_TEXT(result)), &touched, e);

    return check_fence(rc, touched, attempt, e);
}

enum err_code jobs_succeed_later(struct db *db, const struct attempt *attempt, const char *result,
                                 struct err *e)
{
    return db_exec_later(
        db, &statements[SUCCEED_LATER],
        DB_ARGS(DB_TEXT(attempt->id.text), DB_INT(attempt->number), DB_TEXT(result)), e);
}

/* Error texts may hold what a server said, cut anywhere: PostgreSQL wants whole characters. */
static void clean(struct buf *out, const char *text)
{
    buf_init(out, ERROR_MAX);
    if (text)
        buf_add_text(out, text);
}

enum err_code jobs_fail(struct db *db, const struct attempt *attempt, int64_t delay_us,
                        const char *error, const char *detail, bool *ret_superseded, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf clean_error;
    AUTO_VALUE(buf_release) struct buf clean_detail;
    enum err_code rc;

    clean(&clean_error, error);
    clean(&clean_detail, detail);
    rc = db_query(db, &statements[FAIL],
                  DB_ARGS(DB_TEXT(attempt->id.text), DB_INT(attempt->number), DB_INT(delay_us),
                          DB_TEXT(clean_error.data), DB_TEXT(detail ? clean_detail.data : NULL)),
                  &rows, e);
    if (!rc && db_rows(rows) > 0)
        *ret_superseded = db_bool(rows, 0, 0);
    return check_fence(rc, rc ? 0 : db_rows(rows), attempt, e);
}

void attempts_to_arrays(const struct attempt *attempts, size_t count, struct buf *ids,
                        struct buf *numbers)
{
    buf_init(ids, ARRAY_MAX);
    buf_init(numbers, ARRAY_MAX);
    db_ids_begin(ids, count);
    db_ints_begin(numbers, count);
    for (size_t i = 0; i < count; i++) {
        db_ids_add(ids, &attempts[i].id);
        db_ints_add(numbers, attempts[i].number);
    }
}

void attempts_mark(const struct db_result *rows, size_t count, bool *ret_marks)
{
    for (size_t i = 0; i < count; i++)
        ret_marks[i] = false;
    for (int row = 0; row < db_rows(rows); row++) {
        int64_t place;

        if (db_is_null(rows, row, 0))
            continue;
        place = db_int(rows, row, 0) - 1;
        if (place < 0 || (size_t)place >= count)
            abort(); /* not by a statement of this file */
        ret_marks[place] = true;
    }
}

enum err_code jobs_give_back(struct db *db, const struct attempt *attempts, size_t count,
                             bool *ret_released, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf numbers;
    enum err_code rc;

    attempts_to_arrays(attempts, count, &ids, &numbers);
    rc = db_query(db, &statements[GIVE_BACK], DB_ARGS(DB_ARRAY(ids), DB_ARRAY(numbers)), &rows, e);
    if (!rc)
        attempts_mark(rows, count, ret_released);
    return rc;
}

enum err_code jobs_bury_undecodable(struct db *db, const struct queue_delivery *delivery,
                                    const struct queue_stream *stream, const char *worker,
                                    struct err *e)
{
    return db_exec(db, &statements[BURY],
                   DB_ARGS(DB_TEXT(delivery->id.text), DB_TEXT(stream->queue),
                           DB_INT(stream->priority), DB_TEXT(worker), DB_TEXT(delivery->entry),
                           DB_TEXT(delivery->reason),
                           DB_BYTES(delivery->payload, delivery->payload_len)),
                   NULL, e);
}

enum err_code jobs_find_own_id(struct db *db, const struct queue_delivery *delivery,
                               const struct queue_stream *stream, struct uuid *ret_id,
                               struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct uuid made = queue_fast_id(stream, delivery->entry);
    enum err_code rc = ERR_OK;

    *ret_id = delivery->id;
    if (strcmp(made.text, delivery->id.text) == 0)
        return ERR_OK;
    rc = db_query(db, &statements[IS_ANOTHERS],
                  DB_ARGS(DB_TEXT(delivery->id.text), DB_TEXT(delivery->task),
                          DB_TEXT(delivery->args), DB_TEXT(delivery->kwargs)),
                  &rows, e);
    if (!rc && db_rows(rows) > 0)
        *ret_id = made;
    return rc;
}

enum err_code jobs_adopt_fast(struct db *db, const struct queue_delivery *delivery,
                              const struct queue_stream *stream, const char *worker,
                              int max_attempts, int64_t delay_us, const char *error,
                              const char *detail, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf clean_error;
    AUTO_VALUE(buf_release) struct buf clean_detail;
    struct uuid id;
    enum err_code rc;

    clean(&clean_error, error);
    clean(&clean_detail, detail);
    rc = jobs_find_own_id(db, delivery, stream, &id, e);
    if (rc)
        return rc;
    return db_exec(db, &statements[ADOPT],
                   DB_ARGS(DB_TEXT(id.text), DB_TEXT(delivery->task), DB_TEXT(stream->queue),
                           DB_INT(stream->priority), DB_INT(max_attempts), DB_TEXT(delivery->args),
                           DB_TEXT(delivery->kwargs), DB_INT(delay_us), DB_TEXT(worker),
                           DB_TEXT(delivery->entry), DB_TEXT(clean_error.data),
                           DB_TEXT(detail ? clean_detail.data : NULL), DB_TEXT(delivery->headers),
                           DB_TEXT(delivery->traceparent), DB_INT(delivery->expires_us)),
                   NULL, e);
}
