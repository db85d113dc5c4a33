/* SPDX-License-Identifier: MIT
 *
 * Figures of each minute; see job_minutes.h. A row has the queue "" for all of them together.
 */
#include "common/job_minutes.h"

#include "common/buf.h"
#include "common/statements.h"
#include "common/uuid.h"

enum { COUNT, COUNT_QUEUES, CLOSE, FORGET, LIST };
enum { ARRAY_MAX = 1024 * 1024 };

/* How long jobs waited and ran is told by those that have ended within the minute, and no index
 * says which these are. They are looked for among the newest of all; the newest of each task, since
 * a queue that is seldom used would not be among those beside a busy one; and, where many wait,
 * those made just before the first one that waits, which the workers have come to. Some thousand
 * rows. */
#define SAMPLED "id, queue, enqueued_at, started_at, finished_at FROM jobs"
#define SEEN                                                                                       \
    " seen (v) AS ((SELECT task FROM jobs ORDER BY task LIMIT 1) UNION ALL SELECT"                 \
    " (SELECT task FROM jobs WHERE task > v ORDER BY task LIMIT 1) FROM seen WHERE v IS NOT NULL)"
#define FRONTS                                                                                     \
    " fronts AS (SELECT o.id FROM unnest($1::text[]) q, generate_series(0, 2) p, LATERAL"          \
    "  (SELECT unnest(ARRAY[(array_agg(id ORDER BY enqueued_at, id))[1],"                          \
    "   (array_agg(id ORDER BY id))[1]]) AS id FROM (SELECT id, state, attempt, enqueued_at"       \
    "   FROM jobs WHERE queue = q AND priority = p AND enqueued_at IS NOT NULL"                    \
    "   AND finished_at IS NULL ORDER BY enqueued_at LIMIT 2000) x"                                \
    "  WHERE state = 'PENDING' AND attempt = 0) o WHERE o.id IS NOT NULL)"
#define SAMPLE                                                                                     \
    " sample AS (SELECT true AS of_all, n.* FROM"                                                  \
    "  (SELECT " SAMPLED " ORDER BY id DESC LIMIT 5000) n"                                         \
    " UNION ALL SELECT true, n.* FROM fronts, LATERAL"                                             \
    "  (SELECT " SAMPLED " WHERE id < fronts.id ORDER BY id DESC LIMIT 1000) n"                    \
    " UNION ALL SELECT false, n.* FROM seen, LATERAL (SELECT " SAMPLED                             \
    "  WHERE (task, id) <= (v, '" UUID_LAST "'::uuid)"                                             \
    "  AND (task, id) >= (v, '" UUID_FIRST "'::uuid)"                                              \
    "  ORDER BY task DESC, id DESC LIMIT 200) n WHERE v IS NOT NULL)"
#define HALF_AND_MOST                                                                              \
    "percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY waited) AS w,"                       \
    " percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY ran) AS r"

static const struct db_stmt statements[] = {
    /* A worker that is met for the first time and is older than two minutes has counted before
     * anybody looked: that is where the counting begins. */
    [COUNT] = {"job_minutes_count",
               "WITH old AS (SELECT * FROM worker_counts WHERE name = $1"
               " AND started_at = $2::timestamptz), put AS ("
               " INSERT INTO worker_counts (name, started_at, succeeded, failed, retried)"
               " VALUES ($1, $2::timestamptz, $3, $4, $5) ON CONFLICT (name) DO UPDATE SET"
               " started_at = excluded.started_at, succeeded = excluded.succeeded,"
               " failed = excluded.failed, retried = excluded.retried, seen_at = now()"
               "), added AS ("
               " SELECT $3::bigint - coalesce(o.succeeded, 0) AS s, $4::bigint - coalesce(o.failed,"
               " 0) AS f, $5::bigint - coalesce(o.retried, 0) AS r"
               " FROM (SELECT 1) one LEFT JOIN old o ON true"
               " WHERE o.name IS NOT NULL OR $2::timestamptz > now() - interval '2 minutes')"
               " INSERT INTO job_minutes (minute, queue, succeeded, failed, retried)"
               " SELECT date_trunc('minute', now()), '', s, f, r FROM added"
               " WHERE s >= 0 AND f >= 0 AND r >= 0 AND s + f + r BETWEEN 1 AND 2000000000"
               " ON CONFLICT (queue, minute) DO UPDATE SET"
               " succeeded = job_minutes.succeeded + excluded.succeeded,"
               " failed = job_minutes.failed + excluded.failed,"
               " retried = job_minutes.retried + excluded.retried",
               5},
    /* The same of each queue: $3 names, $4 what of them was processed. */
    [COUNT_QUEUES] =
        {"job_minutes_count_queues",
         "WITH now AS (SELECT * FROM unnest($3::text[], $4::bigint[]) AS n (queue, processed)"
         " WHERE queue <> ''), old AS (SELECT queue, processed FROM worker_queue_counts"
         " WHERE name = $1 AND started_at = $2::timestamptz), put AS ("
         " INSERT INTO worker_queue_counts (name, queue, started_at, processed)"
         " SELECT $1, queue, $2::timestamptz, processed FROM now ON CONFLICT (name, queue)"
         " DO UPDATE SET started_at = excluded.started_at, processed = excluded.processed,"
         " seen_at = now()"
         "), added AS (SELECT queue, n.processed - coalesce(o.processed, 0) AS ended"
         " FROM now n LEFT JOIN old o USING (queue)"
         " WHERE o.queue IS NOT NULL OR $2::timestamptz > now() - interval '2 minutes')"
         " INSERT INTO job_minutes (minute, queue, ended)"
         " SELECT date_trunc('minute', now()), queue, ended FROM added"
         " WHERE ended BETWEEN 1 AND 2000000000 ON CONFLICT (queue, minute) DO UPDATE SET"
         " ended = coalesce(job_minutes.ended, 0) + excluded.ended",
         4},
    /* $1 queues, "" for all together, $2 how many of each wait. Those where nothing waits or has
     * ended have no row. */
    [CLOSE] = {"job_minutes_close",
               "WITH RECURSIVE m AS"
               " (SELECT date_trunc('minute', now()) - interval '1 minute' AS minute)," SEEN ","
               " " FRONTS "," SAMPLE ", ended AS (SELECT queue, bool_or(of_all) AS of_all,"
               " extract(epoch FROM greatest(min(started_at - enqueued_at), '0')) AS waited,"
               " extract(epoch FROM min(finished_at - started_at)) AS ran FROM sample, m"
               " WHERE finished_at >= m.minute AND finished_at < m.minute + interval '1 minute'"
               " AND started_at IS NOT NULL GROUP BY id, queue),"
               " f AS (SELECT '' AS queue, " HALF_AND_MOST " FROM ended"
               " WHERE of_all OR NOT EXISTS (SELECT FROM ended WHERE of_all)"
               " UNION ALL SELECT queue, " HALF_AND_MOST " FROM ended GROUP BY queue)"
               " INSERT INTO job_minutes"
               " (minute, queue, waiting, wait_p50, wait_p95, run_p50, run_p95)"
               " SELECT m.minute, queue, coalesce(q.waiting, 0), f.w[1], f.w[2], f.r[1], f.r[2]"
               " FROM m, (SELECT * FROM unnest($1::text[], $2::bigint[]) AS u (queue, waiting)"
               "  WHERE waiting > 0) q FULL JOIN f USING (queue)"
               " ON CONFLICT (queue, minute) DO UPDATE SET waiting = excluded.waiting,"
               " wait_p50 = excluded.wait_p50, wait_p95 = excluded.wait_p95,"
               " run_p50 = excluded.run_p50, run_p95 = excluded.run_p95",
               2},
    [FORGET] =
        {"job_minutes_forget",
         "WITH gone AS (DELETE FROM worker_counts WHERE seen_at < now() - interval '2 days'),"
         " gone_too AS (DELETE FROM worker_queue_counts"
         "  WHERE seen_at < now() - interval '2 days')"
         " DELETE FROM job_minutes WHERE minute < now() - interval '8 days'",
         0},
    [LIST] =
        {"job_minutes_list",
         "SELECT " SQL_TIME(
             "bin") " AS at, sum(succeeded), sum(failed), sum(retried),"
                    " max(waiting), avg(wait_p50), avg(wait_p95), avg(run_p50), avg(run_p95),"
                    " sum(coalesce(ended, succeeded + failed + retried)) FROM (SELECT *,"
                    " date_bin(make_interval(mins => $2::int), minute,"
                    "  timestamptz '2000-01-01 00:00:00+00') AS bin FROM job_minutes) AS binned"
                    " WHERE minute > date_trunc('minute', now()) - make_interval(mins => $1::int)"
                    " AND queue = $3 GROUP BY at ORDER BY at",
         3},
};

DB_STATEMENTS(job_minutes, statements);

enum err_code job_minutes_count(struct db *db, const struct worker_counts *counts, struct err *e)
{
    return db_exec(db, &statements[COUNT],
                   DB_ARGS(DB_TEXT(counts->name), DB_TEXT(counts->started_at),
                           DB_INT(counts->succeeded), DB_INT(counts->failed),
                           DB_INT(counts->retried)),
                   NULL, e);
}

enum err_code job_minutes_count_queues(struct db *db, const struct worker_counts *counts,
                                       const json_t *processed, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf queues;
    AUTO_VALUE(buf_release) struct buf numbers;
    const char *queue;
    json_t *value;

    buf_init(&queues, ARRAY_MAX);
    buf_init(&numbers, ARRAY_MAX);
    json_object_foreach((json_t *)(uintptr_t)processed, queue, value)
    {
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            continue;
        db_array_add(&queues, queue);
        db_array_add_int(&numbers, json_integer_value(value));
    }
    if (queues.len == 0)
        return ERR_OK;
    db_array_end(&queues);
    db_array_end(&numbers);
    return db_exec(db, &statements[COUNT_QUEUES],
                   DB_ARGS(DB_TEXT(counts->name), DB_TEXT(counts->started_at), DB_TEXT(queues.data),
                           DB_TEXT(numbers.data)),
                   NULL, e);
}

enum err_code job_minutes_close(struct db *db, const struct jobs_queues *list, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf queues;
    AUTO_VALUE(buf_release) struct buf numbers;
    int64_t waiting = 0;
    enum err_code rc;

    buf_init(&queues, ARRAY_MAX);
    buf_init(&numbers, ARRAY_MAX);
    for (size_t i = 0; i < list->count; i++) {
        db_array_add(&queues, list->items[i].name);
        db_array_add_int(&numbers, list->items[i].waiting.count);
        waiting += list->items[i].waiting.count;
    }
    db_array_add(&queues, "");
    db_array_add_int(&numbers, waiting);
    db_array_end(&queues);
    db_array_end(&numbers);
    rc = db_exec(db, &statements[CLOSE], DB_ARGS(DB_TEXT(queues.data), DB_TEXT(numbers.data)), NULL,
                 e);
    return rc ? rc : db_exec(db, &statements[FORGET], DB_NO_ARGS, NULL, e);
}

enum err_code job_minutes_list(struct db *db, const char *queue, int minutes, int step,
                               struct db_result **ret_rows, struct err *e)
{
    return db_query(db, &statements[LIST], DB_ARGS(DB_INT(minutes), DB_INT(step), DB_TEXT(queue)),
                    ret_rows, e);
}
