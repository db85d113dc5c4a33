/* SPDX-License-Identifier: MIT
 *
 * Claiming and settling rows of jobs; see jobs_run.h. The worker decides what happened; this file
 * writes it, each write behind the fence `attempt = $n AND state = 'STARTED'`.
 */
#include "common/jobs_run.h"

#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/statements.h"

enum {
    CLAIM_WAITING,
    CLAIM_FREE,
    CLAIM_LIMITED,
    CLAIM_REST,
    SUCCEED,
    SUCCEED_MANY,
    SUCCEED_LIMITED,
    FAIL,
    GIVE_BACK,
    BURY,
    ADOPT
};
enum { ARRAY_MAX = 4 * 1024 * 1024, ERROR_MAX = 8 * 1024 };

/* What a claim returns, of rows `j` that were delivered by entry `g.entry`. */
#define CLAIMED(entry)                                                                             \
    " RETURNING j.id, " entry ", j.state, j.task, j.queue, j.priority, j.attempt,"                 \
    " j.max_attempts, j.args, j.kwargs, (extract(epoch FROM j.created_at) * 1000000)::bigint,"     \
    " j.headers, j.traceparent, j.snoozes, j.places IS NOT NULL"

/* $1 to $3: ids, entries, worker. */
#define CLAIM_ROWS(condition)                                                                      \
    "UPDATE jobs j SET state = 'STARTED', attempt = j.attempt + 1, worker = $3,"                   \
    " delivery = g.entry, started_at = clock_timestamp()"                                          \
    " FROM unnest($1::uuid[], $2::text[]) AS g(id, entry)"                                         \
    " WHERE j.id = g.id AND j.state IN ('PENDING', 'RETRY')"                                       \
    " AND j.enqueued_at IS NOT NULL AND j.attempt < j.max_attempts"                                \
    " AND (j.expires_at IS NULL OR j.expires_at > now())" condition CLAIMED("g.entry")

static const struct db_stmt statements[] = {
    /* What nearly every delivery is: a row that waits. One pass over the primary key, and no column
     * of an index changes. It starts now, not when its transaction did, which may have waited for
     * a place that another job had until then. */
    [CLAIM_WAITING] = {"jobs_claim_waiting", CLAIM_ROWS(""), 3},
    /* While there are limits of tasks ($4) or keys ($5): those that have none, as before. */
    [CLAIM_FREE] = {"jobs_claim_free",
                    CLAIM_ROWS(" AND j.task <> ALL ($4::text[])"
                               " AND (j.limit_key IS NULL OR NOT $5::bool)"),
                    5},
    /* The others that wait: what has no room is parked, and does not come back. */
    [CLAIM_LIMITED] = {"jobs_claim_limited",
                       "SELECT * FROM till_claim_limited($1::uuid[], $2::text[], $3)", 3},
    /* The rest. Three ways into a claim: the row waits; or it is STARTED by the very delivery that
     * was taken over from a dead worker; or by this worker's own, in a claim whose answer was lost.
     * Rows are locked in the order of their ids. An attempt that was cut off leaves its error, and
     * a job without attempts left is FAILURE from here, one whose time is over REVOKED. The same
     * job delivered twice in one batch is claimed once; a claim made again counts no second
     * attempt. Under limits ($6) only those that end here need no place. */
    [CLAIM_REST] =
        {"jobs_claim_rest",
         "WITH given AS ("
         " SELECT DISTINCT ON (id) id, entry, taken_over"
         " FROM unnest($1::uuid[], $2::text[], $3::bool[]) AS g(id, entry, taken_over)"
         " ORDER BY id, taken_over DESC"
         "), held AS ("
         " SELECT j.id, g.entry, j.state, j.attempt, j.max_attempts, j.worker, j.started_at,"
         " j.state = 'STARTED' AND NOT g.taken_over AS again,"
         " coalesce(j.expires_at <= now(), false) AS expired"
         " FROM jobs j JOIN given g ON g.id = j.id"
         " WHERE (j.state IN ('PENDING', 'RETRY') AND j.enqueued_at IS NOT NULL"
         "     AND (NOT $6 OR j.attempt >= j.max_attempts OR j.expires_at <= now()))"
         " OR (j.state = 'STARTED' AND j.delivery = g.entry"
         "     AND (g.taken_over OR ($5 AND j.worker = $4)))"
         " ORDER BY j.id FOR NO KEY UPDATE OF j"
         "), cut_off AS ("
         " INSERT INTO job_errors (job_id, attempt, worker, started_at, error)"
         " SELECT id, attempt, worker, started_at,"
         " 'the worker died or lost its lease during this attempt'"
         " FROM held WHERE state = 'STARTED' AND NOT again ON CONFLICT DO NOTHING"
         "), decided AS ("
         " SELECT *, again OR (attempt < max_attempts AND NOT expired) AS runs,"
         " attempt < max_attempts AS revoked FROM held"
         ") UPDATE jobs j SET"
         " state = CASE WHEN h.runs THEN 'STARTED' WHEN h.revoked THEN 'REVOKED'"
         " ELSE 'FAILURE' END::job_state,"
         " attempt = h.attempt + (h.runs AND NOT h.again)::int,"
         " worker = CASE WHEN h.runs THEN $4 ELSE j.worker END,"
         " delivery = h.entry,"
         " started_at = CASE WHEN h.runs THEN clock_timestamp() ELSE j.started_at END,"
         " finished_at = CASE WHEN h.runs THEN NULL ELSE now() END,"
         " error = CASE WHEN h.runs THEN j.error WHEN h.revoked THEN 'expired' ELSE"
         " coalesce(CASE WHEN h.state <> 'STARTED' THEN j.error END,"
         " 'the worker died or lost its lease during the last attempt') END"
         " FROM decided h WHERE j.id = h.id" CLAIMED("h.entry"),
         6},
    [SUCCEED] = {"jobs_succeed",
                 "UPDATE jobs SET state = 'SUCCESS', finished_at = now(), result = $3::jsonb,"
                 " error = NULL WHERE id = $1 AND attempt = $2 AND state = 'STARTED'",
                 3},
    [SUCCEED_MANY] = {"jobs_succeed_many",
                      "UPDATE jobs j SET state = 'SUCCESS', finished_at = now(),"
                      " result = nullif(g.result, '')::jsonb, error = NULL"
                      " FROM unnest($1::uuid[], $2::int[], $3::text[]) AS g(id, attempt, result)"
                      " WHERE j.id = g.id AND j.attempt = g.attempt AND j.state = 'STARTED'"
                      " RETURNING j.id",
                      3},
    /* The same for jobs of which some have places under limits: given back for all in one go, and
     * told only where others are parked for them (sql/0025). */
    [SUCCEED_LIMITED] =
        {"jobs_succeed_limited",
         "WITH done AS ("
         " UPDATE jobs j SET state = 'SUCCESS', finished_at = now(),"
         " result = nullif(g.result, '')::jsonb, error = NULL, places = -j.places"
         " FROM unnest($1::uuid[], $2::int[], $3::text[]) AS g(id, attempt, result)"
         " WHERE j.id = g.id AND j.attempt = g.attempt AND j.state = 'STARTED'"
         " RETURNING j.id, j.places, j.task, j.limit_key"
         "), freed AS ("
         " INSERT INTO limit_freed (bucket, places, coming, wakes)"
         " SELECT x.bucket, count(*), count(*) FILTER (WHERE -d.places & 8 = 0),"
         " coalesce(bool_or(b.waiting), false)"
         " FROM done d, LATERAL (VALUES"
         " (CASE WHEN -d.places & 1 <> 0 THEN 'key:' || d.limit_key END),"
         " (CASE WHEN -d.places & 2 <> 0 THEN 'task:' || d.task END)) x (bucket)"
         " LEFT JOIN limit_buckets b ON b.bucket = x.bucket"
         " WHERE x.bucket IS NOT NULL GROUP BY x.bucket RETURNING wakes"
         ") SELECT id, (SELECT count(pg_notify('till_jobs', '')) FROM freed WHERE wakes) FROM done",
         3},
    [FAIL] = {"jobs_fail",
              "WITH failed AS ("
              " UPDATE jobs SET error = $4,"
              " state = CASE WHEN $3::bigint < 0 THEN 'FAILURE' ELSE 'RETRY' END::job_state,"
              " finished_at = CASE WHEN $3::bigint < 0 THEN now() END,"
              " scheduled_at = CASE WHEN $3::bigint < 0 THEN scheduled_at"
              "  ELSE now() + $3::bigint * interval '1 microsecond' END,"
              " enqueued_at = CASE WHEN $3::bigint < 0 THEN enqueued_at END"
              " WHERE id = $1 AND attempt = $2 AND state = 'STARTED'"
              " RETURNING id, attempt, worker, started_at"
              ") INSERT INTO job_errors (job_id, attempt, worker, started_at, error, detail)"
              " SELECT id, attempt, worker, started_at, $4, $5 FROM failed",
              5},
    [GIVE_BACK] = {"jobs_give_back",
                   "UPDATE jobs j SET state = 'PENDING', enqueued_at = now(),"
                   " max_attempts = j.max_attempts + 1"
                   " FROM unnest($1::uuid[], $2::int[]) AS g(id, attempt)"
                   " WHERE j.id = g.id AND j.attempt = g.attempt AND j.state = 'STARTED'"
                   " RETURNING j.id",
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
};

DB_STATEMENTS(jobs_run, statements);

/* ---- claiming ---- */

static void fill_job(const struct db_result *rows, int row, const struct uuid *id, struct job *job)
{
    *job = (struct job){
        .id = *id,
        .task = mem_dup(db_text(rows, row, 3)),
        .queue = mem_dup(db_text(rows, row, 4)),
        .priority = (enum job_priority)db_int(rows, row, 5),
        .attempt = (int)db_int(rows, row, 6),
        .max_attempts = (int)db_int(rows, row, 7),
        .args = mem_dup(db_text(rows, row, 8)),
        .kwargs = mem_dup(db_text(rows, row, 9)),
        .created_us = db_int(rows, row, 10),
        .headers = db_is_null(rows, row, 11) ? NULL : mem_dup(db_text(rows, row, 11)),
        .traceparent = db_is_null(rows, row, 12) ? NULL : mem_dup(db_text(rows, row, 12)),
        .snoozes = (int)db_int(rows, row, 13),
        .has_places = db_bool(rows, row, 14),
    };
}

/* The row of a delivery, or -1. PostgreSQL mostly returns them in the order they were given, so the
 * search begins at `*at`, where the last one ended. */
static int find_claimed(const struct db_result *rows, const struct queue_delivery *delivery,
                        int *at)
{
    int total = db_rows(rows);

    for (int n = 0; n < total; n++) {
        int row = *at;

        *at = *at + 1 < total ? *at + 1 : 0;
        if (strcmp(db_text(rows, row, 0), delivery->id.text) == 0 &&
            strcmp(db_text(rows, row, 1), delivery->entry) == 0)
            return row;
    }
    return -1;
}

/* The deliveries of a claim as array parameters: those that no step has claimed yet. */
struct claim_arrays {
    struct buf ids;
    struct buf entries;
    struct buf taken_over;
    size_t count;
};

static void claim_arrays_init(struct claim_arrays *arrays, const struct queue_delivery *deliveries,
                              size_t count, const struct claim *claims)
{
    *arrays = (struct claim_arrays){.count = 0};
    buf_init(&arrays->ids, ARRAY_MAX);
    buf_init(&arrays->entries, ARRAY_MAX);
    buf_init(&arrays->taken_over, ARRAY_MAX);
    for (size_t i = 0; i < count; i++) {
        if (claims[i].result != CLAIM_DROP)
            continue;
        db_array_add(&arrays->ids, deliveries[i].id.text);
        db_array_add(&arrays->entries, deliveries[i].entry);
        db_array_add(&arrays->taken_over, deliveries[i].taken_over ? "t" : "f");
        arrays->count++;
    }
    db_array_end(&arrays->ids);
    db_array_end(&arrays->entries);
    db_array_end(&arrays->taken_over);
}

static void claim_arrays_release(struct claim_arrays *arrays)
{
    buf_release(&arrays->ids);
    buf_release(&arrays->entries);
    buf_release(&arrays->taken_over);
}

/* A claim goes step by step: what one does not get is left to the next. */
struct claiming {
    struct db *db;
    const char *worker;
    const struct queue_delivery *deliveries;
    size_t count;
    size_t left;
    const struct claim_rules *rules;
    bool retried;
    struct claim *claims;
};

static void read_claim(const struct db_result *rows, const struct queue_delivery *delivery, int *at,
                       struct claim *claim)
{
    int row = find_claimed(rows, delivery, at);
    const char *state;

    if (row < 0)
        return;
    state = db_text(rows, row, 2);
    claim->result = strcmp(state, "STARTED") == 0   ? CLAIM_RUN
                    : strcmp(state, "REVOKED") == 0 ? CLAIM_EXPIRED
                                                    : CLAIM_DEAD;
    fill_job(rows, row, &delivery->id, &claim->job);
}

static enum err_code claim_step(struct claiming *c, int statement, struct err *e)
{
    AUTO_VALUE(claim_arrays_release) struct claim_arrays arrays = {.count = 0};
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct db_param params[6];
    size_t used = 0;
    int at = 0;
    enum err_code rc;

    if (c->left == 0)
        return ERR_OK;
    claim_arrays_init(&arrays, c->deliveries, c->count, c->claims);
    params[used++] = DB_TEXT(arrays.ids.data);
    params[used++] = DB_TEXT(arrays.entries.data);
    if (statement == CLAIM_REST)
        params[used++] = DB_TEXT(arrays.taken_over.data);
    params[used++] = DB_TEXT(c->worker);
    if (statement == CLAIM_FREE) {
        params[used++] = DB_TEXT(c->rules->tasks);
        params[used++] = DB_BOOL(c->rules->keys);
    } else if (statement == CLAIM_REST) {
        params[used++] = DB_BOOL(c->retried);
        params[used++] = DB_BOOL(c->rules != NULL);
    }
    rc = db_query(c->db, &statements[statement], (struct db_args){params, used}, &rows, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < c->count; i++)
        if (c->claims[i].result == CLAIM_DROP)
            read_claim(rows, &c->deliveries[i], &at, &c->claims[i]);
    c->left -= (size_t)db_rows(rows);
    return ERR_OK;
}

enum err_code jobs_claim(struct db *db, const char *worker, const struct queue_delivery *deliveries,
                         size_t count, const struct claim_rules *rules, bool retried,
                         struct claim *claims, struct err *e)
{
    struct claiming c = {.db = db,
                         .worker = worker,
                         .deliveries = deliveries,
                         .count = count,
                         .left = count,
                         .rules = rules,
                         .retried = retried,
                         .claims = claims};
    enum err_code rc;

    for (size_t i = 0; i < count; i++)
        claims[i] = (struct claim){.result = CLAIM_DROP};
    rc = claim_step(&c, rules ? CLAIM_FREE : CLAIM_WAITING, e);
    if (!rc && rules)
        rc = claim_step(&c, CLAIM_LIMITED, e);
    if (!rc)
        rc = claim_step(&c, CLAIM_REST, e);
    for (size_t i = 0; rc && i < count; i++)
        job_release(&claims[i].job);
    return rc;
}

/* ---- settling ---- */

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

/* Error texts may hold what a server said, cut anywhere: PostgreSQL wants whole characters. */
static void clean(struct buf *out, const char *text)
{
    buf_init(out, ERROR_MAX);
    if (text)
        buf_add_text(out, text);
}

enum err_code jobs_fail(struct db *db, const struct attempt *attempt, int64_t delay_us,
                        const char *error, const char *detail, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf clean_error;
    AUTO_VALUE(buf_release) struct buf clean_detail;
    int64_t touched = 0;
    enum err_code rc;

    clean(&clean_error, error);
    clean(&clean_detail, detail);
    rc = db_exec(db, &statements[FAIL],
                 DB_ARGS(DB_TEXT(attempt->id.text), DB_INT(attempt->number), DB_INT(delay_us),
                         DB_TEXT(clean_error.data), DB_TEXT(detail ? clean_detail.data : NULL)),
                 &touched, e);
    return check_fence(rc, touched, attempt, e);
}

/* The attempts as two array parameters. */
static void add_attempts(const struct attempt *attempts, size_t count, struct buf *ids,
                         struct buf *numbers)
{
    buf_init(ids, ARRAY_MAX);
    buf_init(numbers, ARRAY_MAX);
    for (size_t i = 0; i < count; i++) {
        char number[24];

        (void)snprintf(number, sizeof number, "%d", attempts[i].number);
        db_array_add(ids, attempts[i].id.text);
        db_array_add(numbers, number);
    }
    db_array_end(ids);
    db_array_end(numbers);
}

/* Which of the attempts are among the ids that a statement returned. PostgreSQL mostly returns them
 * in the order they were given, so the search begins where the last one ended. */
static void mark_returned(const struct db_result *rows, const struct attempt *attempts,
                          size_t count, bool *ret_marks)
{
    int total = db_rows(rows);
    int at = 0;

    for (size_t i = 0; i < count; i++) {
        ret_marks[i] = false;
        for (int n = 0; n < total && !ret_marks[i]; n++, at = at + 1 < total ? at + 1 : 0)
            ret_marks[i] = strcmp(db_text(rows, at, 0), attempts[i].id.text) == 0;
    }
}

enum err_code jobs_succeed_many(struct db *db, const struct attempt *attempts,
                                const char *const *results, size_t count, bool have_places,
                                bool *ret_ours, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf numbers;
    AUTO_VALUE(buf_release) struct buf texts;
    enum err_code rc;

    add_attempts(attempts, count, &ids, &numbers);
    buf_init(&texts, ARRAY_MAX);
    for (size_t i = 0; i < count; i++)
        db_array_add(&texts, results[i] ? results[i] : "");
    db_array_end(&texts);
    rc = db_query(db, &statements[have_places ? SUCCEED_LIMITED : SUCCEED_MANY],
                  DB_ARGS(DB_TEXT(ids.data), DB_TEXT(numbers.data), DB_TEXT(texts.data)), &rows, e);
    if (!rc)
        mark_returned(rows, attempts, count, ret_ours);
    return rc;
}

enum err_code jobs_give_back(struct db *db, const struct attempt *attempts, size_t count,
                             bool *ret_released, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf numbers;
    enum err_code rc;

    add_attempts(attempts, count, &ids, &numbers);
    rc = db_query(db, &statements[GIVE_BACK], DB_ARGS(DB_TEXT(ids.data), DB_TEXT(numbers.data)),
                  &rows, e);
    if (!rc)
        mark_returned(rows, attempts, count, ret_released);
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

enum err_code jobs_adopt_fast(struct db *db, const struct queue_delivery *delivery,
                              const struct queue_stream *stream, const char *worker,
                              int max_attempts, int64_t delay_us, const char *error,
                              const char *detail, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf clean_error;
    AUTO_VALUE(buf_release) struct buf clean_detail;

    clean(&clean_error, error);
    clean(&clean_detail, detail);
    return db_exec(db, &statements[ADOPT],
                   DB_ARGS(DB_TEXT(delivery->id.text), DB_TEXT(delivery->task),
                           DB_TEXT(stream->queue), DB_INT(stream->priority), DB_INT(max_attempts),
                           DB_TEXT(delivery->args), DB_TEXT(delivery->kwargs), DB_INT(delay_us),
                           DB_TEXT(worker), DB_TEXT(delivery->entry), DB_TEXT(clean_error.data),
                           DB_TEXT(detail ? clean_detail.data : NULL), DB_TEXT(delivery->headers),
                           DB_TEXT(delivery->traceparent), DB_INT(delivery->expires_us)),
                   NULL, e);
}
