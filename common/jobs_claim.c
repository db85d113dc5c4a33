/* SPDX-License-Identifier: MIT
 *
 * Claiming rows of jobs; see jobs_claim.h. Statements that many jobs share, so what each of them
 * costs for one of these is weighed: arrays go in binary form, and a row says by its place in them
 * which delivery it answers.
 */
#include "common/jobs_claim.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/jobs_heal.h"
#include "common/mem.h"
#include "common/statements.h"

enum {
    CLAIM_WAITING,
    CLAIM_FREE,
    CLAIM_PARK,
    CLAIM_FIRST,
    CLAIM_LIMITED,
    CLAIM_REST,
    UNCLAIM,
    BURY
};
enum {
    ARRAY_MAX = 4 * 1024 * 1024,
    REFUSALS_MAX = 5, /* after so many in a row a whole batch is tried once in 2^5 */
};

/* What a claim returns, of row `j` that was delivered by the entry in place `g.n`. The time goes
 * through a double, which holds microseconds until the year 2255: extract() makes a numeric. */
#define CLAIMED(place)                                                                             \
    " RETURNING " place ", j.state, j.task, j.queue, j.priority, j.attempt, j.max_attempts,"       \
    " j.args, j.kwargs, (date_part('epoch', j.created_at) * 1000000)::bigint,"                     \
    " j.headers, j.traceparent, j.snoozes, j.places IS NOT NULL"

/* $1 to $3: ids, entries, worker. */
#define CLAIM_ROWS(condition)                                                                      \
    "UPDATE jobs j SET state = 'STARTED', attempt = j.attempt + 1, worker = $3,"                   \
    " delivery = g.entry, started_at = clock_timestamp()"                                          \
    " FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS g(id, entry, n)"                      \
    " WHERE j.id = g.id AND j.state IN ('PENDING', 'RETRY')"                                       \
    " AND j.enqueued_at IS NOT NULL AND j.attempt < j.max_attempts"                                \
    " AND (j.expires_at IS NULL OR j.expires_at > now())" condition CLAIMED("g.n")

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
    /* Those that find others parked for their bucket: parked behind them (sql/0031). */
    [CLAIM_PARK] = {"jobs_park", "SELECT n FROM till_park($1::uuid[], $2) AS n", 2},
    /* All that wait, limited or not, if there is room for them; else none. Mostly there is. */
    [CLAIM_FIRST] = {"jobs_claim_first",
                     "SELECT n, state, task, queue, priority, attempt, max_attempts, args, kwargs,"
                     " created_us, headers, traceparent, snoozes, has_places"
                     " FROM till_claim_first($1::uuid[], $2::text[], $3)",
                     3},
    /* The others that wait: what has no room is parked, and does not come back. */
    [CLAIM_LIMITED] =
        {"jobs_claim_limited",
         "SELECT g.n, c.state, c.task, c.queue, c.priority, c.attempt, c.max_attempts,"
         " c.args, c.kwargs, c.created_us, c.headers, c.traceparent, c.snoozes,"
         " c.has_places FROM till_claim_limited($1::uuid[], $2::text[], $3) c"
         " JOIN unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS g(id, entry, n)"
         " USING (id, entry)",
         3},
    /* The rest. Three ways into a claim: the row waits; or it is STARTED by the very delivery that
     * was taken over from a dead worker; or by this worker's own, in a claim whose answer was lost.
     * Rows are locked in the order of their ids. An attempt that was cut off leaves its error, and
     * a job without attempts left is FAILURE from here, one whose time is over REVOKED. The same
     * job delivered twice in one batch is claimed once; a claim made again counts no second
     * attempt. Under limits ($6) only those that end here need no place. */
    [CLAIM_REST] =
        {"jobs_claim_rest",
         "WITH given AS ("
         " SELECT DISTINCT ON (id) id, entry, taken_over, n"
         " FROM unnest($1::uuid[], $2::text[], $3::bool[])"
         " WITH ORDINALITY AS g(id, entry, taken_over, n)"
         " ORDER BY id, taken_over DESC"
         "), held AS ("
         " SELECT j.id, g.n, g.entry, j.state, j.attempt, j.max_attempts, j.worker, j.started_at,"
         " j.state = 'STARTED' AND NOT g.taken_over AS again,"
         " coalesce(j.expires_at <= now(), false) AS expired,"
         " CASE WHEN j.state = 'STARTED' THEN " JOB_CUT_OFF_ERROR " ELSE j.error END AS known"
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
         " FROM held WHERE state = 'STARTED' AND NOT again AND known IS NULL"
         " ON CONFLICT DO NOTHING"
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
         " coalesce(h.known, 'the worker died or lost its lease during the last attempt') END"
         " FROM decided h WHERE j.id = h.id" CLAIMED("h.n"),
         6},
    /* The number will be another attempt's, which this must not touch, however late it comes: by
     * worker and entry it finds the attempt of this claim alone. */
    [UNCLAIM] = {"jobs_unclaim",
                 "UPDATE jobs SET state = 'PENDING', attempt = attempt - 1, enqueued_at = now(),"
                 " started_at = CASE WHEN attempt > 1 THEN started_at END"
                 " WHERE id = $1 AND attempt = $2 AND state = 'STARTED' AND worker = $3"
                 " AND delivery = $4",
                 4},
    [BURY] = {"jobs_bury_unclaimable",
              "UPDATE jobs SET state = 'FAILURE', finished_at = now(), error = $2"
              " WHERE id = $1 AND state IN ('PENDING', 'RETRY')",
              2},
};

DB_STATEMENTS(jobs_claim, statements);

void jobs_claimed(const struct db_result *rows, int row, const struct uuid *id, struct job *ret_job)
{
    *ret_job = (struct job){
        .id = *id,
        .task = mem_dup(db_text(rows, row, 2)),
        .queue = mem_dup(db_text(rows, row, 3)),
        .priority = (enum job_priority)db_int(rows, row, 4),
        .attempt = (int)db_int(rows, row, 5),
        .max_attempts = (int)db_int(rows, row, 6),
        .args = mem_dup(db_text(rows, row, 7)),
        .kwargs = mem_dup(db_text(rows, row, 8)),
        .created_us = db_int(rows, row, 9),
        .headers = db_is_null(rows, row, 10) ? NULL : mem_dup(db_text(rows, row, 10)),
        .traceparent = db_is_null(rows, row, 11) ? NULL : mem_dup(db_text(rows, row, 11)),
        .snoozes = (int)db_int(rows, row, 12),
        .has_places = db_bool(rows, row, 13),
    };
}

/* A claim goes step by step: what one does not get is left to the next. */
struct claiming {
    struct db *db;
    const char *worker;
    const struct queue_delivery *deliveries;
    size_t count;
    size_t left;
    struct claim_rules *rules;
    bool retried;
    struct claim *claims;
};

/* The deliveries of a claim as array parameters: those that no step has claimed yet. */
struct claim_arrays {
    struct buf ids;
    struct buf entries;
    struct buf taken_over;
    size_t *places; /* of each element among the deliveries */
    size_t count;
};

static void claim_arrays_init(struct claim_arrays *arrays, const struct claiming *c)
{
    *arrays = (struct claim_arrays){.places = mem_array(c->left, sizeof *arrays->places)};
    buf_init(&arrays->ids, ARRAY_MAX);
    buf_init(&arrays->entries, ARRAY_MAX);
    buf_init(&arrays->taken_over, ARRAY_MAX);
    db_ids_begin(&arrays->ids, c->left);
    for (size_t i = 0; i < c->count; i++) {
        const struct queue_delivery *delivery = &c->deliveries[i];

        if (c->claims[i].result != CLAIM_DROP)
            continue; /* known already */
        db_ids_add(&arrays->ids, &delivery->id);
        db_array_add(&arrays->entries, delivery->entry);
        db_array_add(&arrays->taken_over, delivery->taken_over ? "t" : "f");
        arrays->places[arrays->count++] = i;
    }
    db_array_end(&arrays->entries);
    db_array_end(&arrays->taken_over);
}

static void claim_arrays_release(struct claim_arrays *arrays)
{
    buf_release(&arrays->ids);
    buf_release(&arrays->entries);
    buf_release(&arrays->taken_over);
    mem_free(arrays->places);
}

static void read_claim(const struct db_result *rows, int row, const struct claim_arrays *arrays,
                       const struct claiming *c)
{
    int64_t place = db_int(rows, row, 0) - 1;
    const char *state = db_text(rows, row, 1);
    struct claim *claim;

    if (place < 0 || (size_t)place >= arrays->count)
        abort(); /* not by a statement of this file */
    claim = &c->claims[arrays->places[place]];
    claim->result = strcmp(state, "STARTED") == 0   ? CLAIM_RUN
                    : strcmp(state, "REVOKED") == 0 ? CLAIM_EXPIRED
                                                    : CLAIM_DEAD;
    jobs_claimed(rows, row, &c->deliveries[arrays->places[place]].id, &claim->job);
}

static enum err_code claim_step(struct claiming *c, int statement, struct err *e)
{
    AUTO_VALUE(claim_arrays_release) struct claim_arrays arrays = {.count = 0};
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct db_param params[6];
    size_t used = 0;
    enum err_code rc;

    if (c->left == 0)
        return ERR_OK;
    claim_arrays_init(&arrays, c);
    params[used++] = DB_ARRAY(arrays.ids);
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
    for (int row = 0; row < db_rows(rows); row++)
        read_claim(rows, row, &arrays, c);
    c->left -= (size_t)db_rows(rows);
    return ERR_OK;
}

static enum err_code park(struct claiming *c, struct err *e)
{
    AUTO_VALUE(claim_arrays_release) struct claim_arrays arrays = {.count = 0};
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc;

    claim_arrays_init(&arrays, c);
    rc = db_query(c->db, &statements[CLAIM_PARK],
                  DB_ARGS(DB_ARRAY(arrays.ids), DB_BOOL(c->rules->keys)), &rows, e);
    if (rc)
        return rc;
    for (int row = 0; row < db_rows(rows); row++) {
        int64_t place = db_int(rows, row, 0) - 1;

        if (place < 0 || (size_t)place >= arrays.count)
            abort(); /* not by a statement of this file */
        c->claims[arrays.places[place]].result = CLAIM_PARKED;
    }
    c->left -= (size_t)db_rows(rows);
    c->rules->parks = db_rows(rows) > 0;
    return ERR_OK;
}

/* Of what was claimed: how many have no limit that counts them. */
static size_t count_free(const struct claiming *c)
{
    size_t free = 0;

    for (size_t i = 0; i < c->count; i++)
        free += c->claims[i].result == CLAIM_RUN && !c->claims[i].job.has_places;
    return free;
}

/* A whole batch for which there is no room costs twice. So after one the next batches go job by job
 * at once, more of them each time; until one of them finds room for all. */
static enum err_code claim_whole(struct claiming *c, struct err *e)
{
    struct claim_rules *rules = c->rules;
    size_t asked = c->left;
    enum err_code rc = claim_step(c, CLAIM_FIRST, e);

    if (rc || asked == 0)
        return rc;
    if (c->left < asked) {
        rules->refusals = 0;
        return ERR_OK;
    }
    rules->refusals += rules->refusals < REFUSALS_MAX;
    rules->careful = (1 << rules->refusals) - 1;
    return ERR_OK;
}

static enum err_code claim_under_limits(struct claiming *c, struct err *e)
{
    struct claim_rules *rules = c->rules;
    enum err_code rc = rules->mostly_limited ? ERR_OK : claim_step(c, CLAIM_FREE, e);

    if (!rc && rules->parks && c->left > 0)
        rc = park(c, e);
    if (!rc && rules->careful == 0) {
        rc = claim_whole(c, e);
    } else if (!rc && c->left > 0) {
        rules->careful--;
    }
    if (!rc && c->left > 0) {
        rc = claim_step(c, CLAIM_LIMITED, e);
        if (c->left == 0)
            rules->careful = 0;
        else
            rules->parks = true;
    }
    rules->mostly_limited = !rc && count_free(c) < c->count / 2;
    return rc;
}

enum err_code jobs_claim(struct db *db, const char *worker, const struct queue_delivery *deliveries,
                         size_t count, struct claim_rules *rules, bool retried,
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
    rc = rules ? claim_under_limits(&c, e) : claim_step(&c, CLAIM_WAITING, e);
    if (!rc)
        rc = claim_step(&c, CLAIM_REST, e);
    for (size_t i = 0; rc && i < count; i++)
        job_release(&claims[i].job);
    return rc;
}

enum err_code jobs_unclaim(struct db *db, const char *worker, const char *entry,
                           const struct job *job, bool *ret_released, struct err *e)
{
    int64_t touched = 0;
    enum err_code rc = db_exec(
        db, &statements[UNCLAIM],
        DB_ARGS(DB_TEXT(job->id.text), DB_INT(job->attempt), DB_TEXT(worker), DB_TEXT(entry)),
        &touched, e);

    if (!rc)
        *ret_released = touched > 0;
    return rc;
}

enum err_code jobs_bury_unclaimable(struct db *db, const struct uuid *id, const char *error,
                                    bool *ret_buried, struct err *e)
{
    int64_t touched = 0;
    enum err_code rc =
        db_exec(db, &statements[BURY], DB_ARGS(DB_TEXT(id->text), DB_TEXT(error)), &touched, e);

    if (!rc)
        *ret_buried = touched > 0;
    return rc;
}
