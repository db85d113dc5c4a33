/* SPDX-License-Identifier: MIT
 *
 * Figures of each minute; see job_minutes.h. A row has the queue "" for all of them together.
 */
#include "common/job_minutes.h"

#include "common/statements.h"

enum { COUNT, CLOSE, FORGET, LIST };

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
               " ON CONFLICT (minute, queue) DO UPDATE SET"
               " succeeded = job_minutes.succeeded + excluded.succeeded,"
               " failed = job_minutes.failed + excluded.failed,"
               " retried = job_minutes.retried + excluded.retried",
               5},
    [CLOSE] = {"job_minutes_close",
               "WITH m AS (SELECT date_trunc('minute', now()) - interval '1 minute' AS minute),"
               " newest AS (SELECT enqueued_at, started_at, finished_at FROM jobs ORDER BY id DESC"
               " LIMIT 5000), ended AS ("
               " SELECT extract(epoch FROM greatest(started_at - enqueued_at, '0')) AS waited,"
               " extract(epoch FROM finished_at - started_at) AS ran FROM newest, m"
               " WHERE finished_at >= m.minute AND finished_at < m.minute + interval '1 minute'"
               " AND started_at IS NOT NULL), f AS ("
               " SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY waited) AS w,"
               " percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY ran) AS r FROM ended)"
               " INSERT INTO job_minutes (minute, queue, waiting, wait_p50, wait_p95, run_p50,"
               " run_p95) SELECT m.minute, '', $1, f.w[1], f.w[2], f.r[1], f.r[2] FROM m, f"
               " ON CONFLICT (minute, queue) DO UPDATE SET waiting = excluded.waiting,"
               " wait_p50 = excluded.wait_p50, wait_p95 = excluded.wait_p95,"
               " run_p50 = excluded.run_p50, run_p95 = excluded.run_p95",
               1},
    [FORGET] = {"job_minutes_forget",
                "WITH gone AS (DELETE FROM worker_counts WHERE seen_at < now() - interval '2 days')"
                " DELETE FROM job_minutes WHERE minute < now() - interval '8 days'",
                0},
    [LIST] =
        {"job_minutes_list",
         "SELECT " SQL_TIME(
             "date_bin(make_interval(mins => $2::int), minute,"
             " timestamptz '2000-01-01 00:00:00+00')") " AS at,"
                                                       " sum(succeeded), sum(failed), "
                                                       "sum(retried), max(waiting), avg(wait_p50),"
                                                       " avg(wait_p95), avg(run_p50), avg(run_p95) "
                                                       "FROM job_minutes"
                                                       " WHERE minute > date_trunc('minute', "
                                                       "now()) - make_interval(mins => $1::int)"
                                                       " AND queue = '' GROUP BY at ORDER BY at",
         2},
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

enum err_code job_minutes_close(struct db *db, int64_t waiting, struct err *e)
{
    enum err_code rc = db_exec(db, &statements[CLOSE], DB_ARGS(DB_INT(waiting)), NULL, e);

    return rc ? rc : db_exec(db, &statements[FORGET], DB_NO_ARGS, NULL, e);
}

enum err_code job_minutes_list(struct db *db, int minutes, int step, struct db_result **ret_rows,
                               struct err *e)
{
    return db_query(db, &statements[LIST], DB_ARGS(DB_INT(minutes), DB_INT(step)), ret_rows, e);
}
