/* SPDX-License-Identifier: MIT
 *
 * Ending many jobs in one statement; see jobs_succeed.h.
 */
#include "common/jobs_succeed.h"

#include <stdlib.h>

#include "common/buf.h"
#include "common/jobs_claim.h"
#include "common/mem.h"
#include "common/statements.h"

enum {
    SUCCEED_MANY,
    SUCCEED_MANY_LATER,
    SUCCEED_LIMITED,
    SUCCEED_LIMITED_LATER,
    SUCCEED_PASSING,
    FIND_PASSED,
    FIND_OURS
};
enum { ARRAY_MAX = 4 * 1024 * 1024 };

/* What ends jobs without places: $1 to $3 are ids, attempts, results. */
#define SUCCEED_PLAIN                                                                              \
    "UPDATE jobs j SET state = 'SUCCESS', finished_at = now(),"                                    \
    " result = g.result::jsonb, error = NULL"                                                      \
    " FROM unnest($1::uuid[], $2::int[], $3::text[])"                                              \
    " WITH ORDINALITY AS g(id, attempt, result, n)"                                                \
    " WHERE j.id = g.id AND j.attempt = g.attempt AND j.state = 'STARTED'"                         \
    " RETURNING g.n"

/* The commit goes out with it, so what must not be committed has to fail: here where `done` has not
 * touched all that were given. */
#define UNLESS_ALL_ARE_OURS                                                                        \
    "(SELECT till_not_ours(g.id, g.attempt)"                                                       \
    " FROM unnest($1::uuid[], $2::int[]) WITH ORDINALITY AS g(id, attempt, n)"                     \
    " WHERE (SELECT count(*) FROM done) < cardinality($1::uuid[])"                                 \
    " AND g.n NOT IN (SELECT n FROM done) LIMIT 1)"

/* What ends jobs that may have places: $1 to $3 are ids, attempts, results. */
#define SUCCEED_WITH_PLACES                                                                        \
    " UPDATE jobs j SET state = 'SUCCESS', finished_at = now(),"                                   \
    " result = g.result::jsonb, error = NULL, places = -j.places"                                  \
    " FROM unnest($1::uuid[], $2::int[], $3::text[])"                                              \
    " WITH ORDINALITY AS g(id, attempt, result, n)"                                                \
    " WHERE j.id = g.id AND j.attempt = g.attempt AND j.state = 'STARTED'"                         \
    " RETURNING g.n, j.places, j.task, j.limit_key"

/* Behind it: the places that they had, and whom it is told to. */
#define FREED                                                                                      \
    ", freed AS ("                                                                                 \
    " INSERT INTO limit_freed (bucket, places, coming, wakes)"                                     \
    " SELECT x.bucket, count(*), count(*) FILTER (WHERE -d.places & 8 = 0),"                       \
    " coalesce(bool_or(b.waiting), false)"                                                         \
    " FROM done d, LATERAL (VALUES"                                                                \
    " (CASE WHEN -d.places & 1 <> 0 THEN 'key:' || d.limit_key END),"                              \
    " (CASE WHEN -d.places & 2 <> 0 THEN 'task:' || d.task END)) x (bucket)"                       \
    " LEFT JOIN limit_buckets b ON b.bucket = x.bucket"                                            \
    " WHERE x.bucket IS NOT NULL GROUP BY x.bucket RETURNING wakes)"
#define TOLD "(SELECT count(pg_notify('till_jobs', '')) FROM freed WHERE wakes)"

/* Whether the limit in row `l` of a bucket in row `b` lets its places be passed on: it gives no
 * tokens, for which one would have to wait, and has not been lowered below what runs. */
#define MAY_PASS "l.rate IS NULL AND l.concurrency >= b.places"

/* A job as jobs_claimed() reads it, behind its place among those that were given. */
#define CLAIMED_JOB                                                                                \
    " j.state, j.task, j.queue, j.priority, j.attempt, j.max_attempts, j.args, j.kwargs,"          \
    " (date_part('epoch', j.created_at) * 1000000)::bigint AS created_us, j.headers,"              \
    " j.traceparent, j.snoozes, j.places IS NOT NULL, j.id"

static const struct db_stmt statements[] = {
    [SUCCEED_MANY] = {"jobs_succeed_many", SUCCEED_PLAIN, 3},
    [SUCCEED_MANY_LATER] = {"jobs_succeed_many_later",
                            "WITH done AS (" SUCCEED_PLAIN ") SELECT " UNLESS_ALL_ARE_OURS, 3},
    /* The same for jobs of which some have places under limits: given back for all in one go, and
     * told only where others are parked for them (sql/0025). */
    [SUCCEED_LIMITED] = {"jobs_succeed_limited",
                         "WITH done AS (" SUCCEED_WITH_PLACES ")" FREED " SELECT n, " TOLD
                         " FROM done",
                         3},
    [SUCCEED_LIMITED_LATER] = {"jobs_succeed_limited_later",
                               "WITH done AS (" SUCCEED_WITH_PLACES ")" FREED " SELECT " TOLD
                               ", " UNLESS_ALL_ARE_OURS,
                               3},
    /* The same, and the places of buckets that others are parked for go straight to the first of
     * these, in the order of release_bucket() (sql/0034): worker $4 claims them here, of the queues
     * in $6, by a delivery of its own ($5). No bucket is touched, since its count stays, and nobody
     * is told. Whoever is next, but may not run here (it needs a place or a token elsewhere, too,
     * or its queue is none of $6), waits for the scheduler, as does everybody of his bucket behind
     * him: that place is given back.
     *
     * A job that waited for its task with a place of its key is not on its way any more. Its
     * enqueued_at is old, as that of any job that runs (started_jobs, sql/0007). */
    [SUCCEED_PASSING] =
        {"jobs_succeed_passing",
         "WITH done AS (" SUCCEED_WITH_PLACES "), ended AS ("
         " SELECT x.bucket, x.place, count(*) AS places,"
         " count(*) FILTER (WHERE -d.places & 8 = 0) AS coming"
         " FROM done d, LATERAL (VALUES"
         " (CASE WHEN -d.places & 1 <> 0 THEN 'key:' || d.limit_key END, 1),"
         " (CASE WHEN -d.places & 2 <> 0 THEN 'task:' || d.task END, 2)) x (bucket, place)"
         " WHERE x.bucket IS NOT NULL GROUP BY x.bucket, x.place"
         "), buckets AS MATERIALIZED ("
         " SELECT e.*, coalesce(b.waiting, false) AS waiting,"
         " CASE WHEN NOT coalesce(b.waiting, false) THEN false"
         " WHEN e.place = 2 THEN (SELECT " MAY_PASS " FROM limits l"
         "  WHERE l.scope = 'task' AND l.name = substr(e.bucket, 6))"
         " ELSE coalesce((SELECT " MAY_PASS " FROM limits l"
         "   WHERE l.scope = 'key' AND l.name = substr(e.bucket, 5)),"
         "  (SELECT " MAY_PASS " FROM limits l"
         "   WHERE l.scope = 'key' AND right(l.name, 1) = '*'"
         "   AND starts_with(substr(e.bucket, 5), left(l.name, -1))"
         "   ORDER BY length(l.name) DESC LIMIT 1)) END AS passes"
         " FROM ended e LEFT JOIN limit_buckets b ON b.bucket = e.bucket"
         "), first AS MATERIALIZED ("
         " SELECT o.*, b.bucket, b.place FROM buckets b CROSS JOIN LATERAL ("
         "  SELECT j.id, j.task, j.limit_key, coalesce(j.places, 0) & 3 AS has,"
         "  j.queue = ANY ($6::text[]) AND j.attempt < j.max_attempts"
         "   AND (j.expires_at IS NULL OR j.expires_at > now()) AS may_run"
         "  FROM jobs j WHERE j.parked_on = b.bucket AND j.enqueued_at IS NULL"
         "  AND j.finished_at IS NULL AND j.state IN ('PENDING', 'RETRY')"
         "  AND NOT ARRAY[j.queue] <@ ARRAY(SELECT q.name FROM queues q WHERE q.paused_at IS NOT "
         "NULL)"
         "  ORDER BY (j.created_at AT TIME ZONE 'UTC') + j.priority * interval '10 minutes', j.id"
         "  LIMIT b.places FOR NO KEY UPDATE SKIP LOCKED) o"
         " WHERE b.passes"
         "), next AS MATERIALIZED ("
         " SELECT o.* FROM first o WHERE o.may_run AND NOT EXISTS (SELECT FROM limits l WHERE"
         "  CASE WHEN o.place = 1 THEN l.scope = 'task' AND l.name = o.task"
         "  ELSE l.scope = 'key' AND (l.name = o.limit_key"
         "    OR right(l.name, 1) = '*' AND starts_with(o.limit_key, left(l.name, -1)))"
         "   AND (l.rate IS NOT NULL OR o.has & 1 = 0) END)"
         "), passed AS ("
         " UPDATE jobs j SET state = 'STARTED', attempt = j.attempt + 1, worker = $4,"
         " delivery = $5, started_at = clock_timestamp(), enqueued_at = j.created_at,"
         " parked_on = NULL, places = coalesce(j.places, 0) & 3 | 8"
         "  | CASE WHEN starts_with(j.parked_on, 'key:') THEN 1 ELSE 2 END"
         " WHERE j.id = ANY (ARRAY(SELECT id FROM next))"
         " RETURNING" CLAIMED_JOB "), freed AS ("
         " INSERT INTO limit_freed (bucket, places, coming, wakes)"
         " SELECT b.bucket, b.places - coalesce(p.places, 0), b.coming, b.waiting"
         " FROM buckets b LEFT JOIN (SELECT n.bucket, count(*) AS places"
         "  FROM next n JOIN passed p ON p.id = n.id GROUP BY n.bucket) p ON p.bucket = b.bucket"
         " WHERE b.places > coalesce(p.places, 0) OR b.coming > 0"
         " UNION ALL SELECT x.bucket, 0, 1, false"
         " FROM next n JOIN passed p ON p.id = n.id, LATERAL (VALUES"
         " (CASE WHEN n.has & 1 <> 0 THEN 'key:' || n.limit_key END),"
         " (CASE WHEN n.has & 2 <> 0 THEN 'task:' || n.task END)) x (bucket)"
         " WHERE x.bucket IS NOT NULL RETURNING wakes"
         "), told AS MATERIALIZED ("
         " SELECT count(pg_notify('till_jobs', '')) FROM freed WHERE wakes)"
         " SELECT n, NULL::job_state, NULL::text, NULL::text, NULL::smallint, NULL::int,"
         " NULL::int, NULL::jsonb, NULL::jsonb, (SELECT count FROM told) AS created_us,"
         " NULL::jsonb, NULL::text, NULL::int, NULL::bool, NULL::uuid AS id FROM done"
         " UNION ALL SELECT NULL, p.* FROM passed p ORDER BY created_us, id",
         6},
    [FIND_PASSED] = {"jobs_find_passed",
                     "SELECT NULL::bigint," CLAIMED_JOB " FROM jobs j"
                     " WHERE j.id = ANY (ARRAY(SELECT id FROM started_jobs WHERE worker = $1))"
                     " AND j.state = 'STARTED' AND j.worker = $1 AND j.delivery = $2"
                     " ORDER BY created_us, id",
                     2},
    [FIND_OURS] = {"jobs_find_ours",
                   "SELECT g.n FROM unnest($1::uuid[], $2::int[])"
                   " WITH ORDINALITY AS g(id, attempt, n)"
                   " JOIN jobs j ON j.id = g.id AND j.attempt = g.attempt AND j.state = 'STARTED'",
                   2},
};

DB_STATEMENTS(jobs_succeed, statements);

/* NULL for none at all, which unnest() gives to every row. */
static struct db_param add_results(const char *const *results, size_t count, struct buf *texts)
{
    bool any = false;

    buf_init(texts, ARRAY_MAX);
    for (size_t i = 0; i < count && !any; i++)
        any = results[i] != NULL;
    for (size_t i = 0; i < count && any; i++)
        db_array_add(texts, results[i]);
    db_array_end(texts);
    return DB_TEXT(any ? texts->data : NULL);
}

enum err_code jobs_succeed_many(struct db *db, const struct attempt *attempts,
                                const char *const *results, size_t count, bool have_places,
                                bool *ret_ours, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf numbers;
    AUTO_VALUE(buf_release) struct buf texts;
    struct db_param given;
    enum err_code rc;

    attempts_to_arrays(attempts, count, &ids, &numbers);
    given = add_results(results, count, &texts);
    rc = db_query(db, &statements[have_places ? SUCCEED_LIMITED : SUCCEED_MANY],
                  DB_ARGS(DB_ARRAY(ids), DB_ARRAY(numbers), given), &rows, e);
    if (!rc)
        attempts_mark(rows, count, ret_ours);
    return rc;
}

enum err_code jobs_succeed_many_later(struct db *db, const struct attempt *attempts,
                                      const char *const *results, size_t count, bool have_places,
                                      struct err *e)
{
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf numbers;
    AUTO_VALUE(buf_release) struct buf texts;
    struct db_param given;

    attempts_to_arrays(attempts, count, &ids, &numbers);
    given = add_results(results, count, &texts);
    return db_exec_later(db, &statements[have_places ? SUCCEED_LIMITED_LATER : SUCCEED_MANY_LATER],
                         DB_ARGS(DB_ARRAY(ids), DB_ARRAY(numbers), given), e);
}

enum err_code jobs_find_ours(struct db *db, const struct attempt *attempts, size_t count,
                             bool *ret_ours, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf numbers;
    enum err_code rc;

    attempts_to_arrays(attempts, count, &ids, &numbers);
    rc = db_query(db, &statements[FIND_OURS], DB_ARGS(DB_ARRAY(ids), DB_ARRAY(numbers)), &rows, e);
    if (!rc)
        attempts_mark(rows, count, ret_ours);
    return rc;
}

/* ---- places that are passed on ---- */

enum { PASSED_ID = 14 }; /* the column of the id */

void passed_jobs_release(struct passed_jobs *passed)
{
    for (size_t i = 0; i < passed->count; i++)
        job_release(&passed->jobs[i]);
    mem_free(passed->jobs);
    *passed = (struct passed_jobs){0};
}

static void read_passed(const struct db_result *rows, struct passed_jobs *ret_next)
{
    ret_next->jobs = mem_array((size_t)db_rows(rows), sizeof ret_next->jobs[0]);
    for (int row = 0; row < db_rows(rows); row++) {
        struct uuid id;

        if (!db_is_null(rows, row, PASSED_ID) && uuid_parse(db_text(rows, row, PASSED_ID), &id))
            jobs_claimed(rows, row, &id, &ret_next->jobs[ret_next->count++]);
    }
}

enum err_code jobs_succeed_passing(struct db *db, const struct passing *passing,
                                   const struct attempt *attempts, const char *const *results,
                                   size_t count, bool *ret_ours, struct passed_jobs *ret_next,
                                   struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf numbers;
    AUTO_VALUE(buf_release) struct buf texts;
    struct db_param given;
    enum err_code rc;

    *ret_next = (struct passed_jobs){0};
    attempts_to_arrays(attempts, count, &ids, &numbers);
    given = add_results(results, count, &texts);
    rc = db_query(db, &statements[SUCCEED_PASSING],
                  DB_ARGS(DB_ARRAY(ids), DB_ARRAY(numbers), given, DB_TEXT(passing->worker),
                          DB_TEXT(passing->delivery), DB_TEXT(passing->queues)),
                  &rows, e);
    if (rc)
        return rc;
    attempts_mark(rows, count, ret_ours);
    read_passed(rows, ret_next);
    return ERR_OK;
}

enum err_code jobs_find_passed(struct db *db, const struct passing *passing,
                               struct passed_jobs *ret_next, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc;

    *ret_next = (struct passed_jobs){0};
    rc = db_query(db, &statements[FIND_PASSED],
                  DB_ARGS(DB_TEXT(passing->worker), DB_TEXT(passing->delivery)), &rows, e);
    if (!rc)
        read_passed(rows, ret_next);
    return rc;
}
