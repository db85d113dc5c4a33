/* SPDX-License-Identifier: MIT
 *
 * Sums over jobs; see jobs_figures.h. Each count walks one partial index in that index's own order
 * and stops at a bound, so that neither a large table nor old statistics make it slow.
 */
#include "common/jobs_figures.h"

#include <string.h>

#include "common/mem.h"
#include "common/statements.h"
#include "common/text.h"

enum { COUNT, TOTAL, QUEUES, TASKS, WORKERS };

#define BOUND "10001"
_Static_assert(JOBS_COUNT_MAX == 10000, "BOUND is one more, as text");

#define OPEN "enqueued_at IS NOT NULL AND finished_at IS NULL"
#define WAITING OPEN " AND state IN ('PENDING', 'RETRY')"
#define DUE "enqueued_at IS NULL AND finished_at IS NULL AND waits IS NULL"
#define PARKED "parked_on IS NOT NULL AND enqueued_at IS NULL AND finished_at IS NULL"

/* The distinct values of an index's first column, one probe each: a loose index scan. */
#define DISTINCT_OF(name, column, condition)                                                       \
    name "(v) AS ((SELECT " column " FROM jobs WHERE " condition " ORDER BY " column " LIMIT 1)"   \
         " UNION ALL SELECT (SELECT " column " FROM jobs WHERE " condition " AND " column          \
         " > v ORDER BY " column " LIMIT 1) FROM " name " WHERE v IS NOT NULL)"

#define READY_QUEUES DISTINCT_OF("ready", "queue", OPEN)
#define SEEN_TASKS DISTINCT_OF("seen", "task", "true")

static const struct db_stmt statements[] = {
    [COUNT] =
        {"jobs_count",
         "SELECT s, (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE listed_state = s"
         " AND listed_state IS NOT NULL ORDER BY id DESC LIMIT " BOUND ") x)"
         " FROM unnest('{RETRY,FAILURE,REVOKED}'::job_state[]) s"
         " UNION ALL SELECT 'STARTED', (SELECT count(*) FROM started_jobs)"
         " UNION ALL SELECT 'PENDING', count(*) FROM (SELECT 1 FROM jobs"
         " WHERE (finished_at IS NULL) IS TRUE AND state = 'PENDING' ORDER BY id DESC LIMIT " BOUND
         ") x",
         0},
    [TOTAL] = {"jobs_total",
               "SELECT greatest(c.reltuples, 0)::bigint, x.total, x.success FROM pg_class c,"
               " LATERAL (SELECT count(*) AS total, count(*) FILTER (WHERE state = 'SUCCESS') AS"
               " success FROM (SELECT state FROM jobs WHERE c.reltuples < 100000 ORDER BY id DESC"
               " LIMIT " BOUND ") y) x WHERE c.oid = 'jobs'::regclass",
               0},
    [QUEUES] = {"jobs_queues",
                "WITH RECURSIVE " READY_QUEUES ","
                " due AS (SELECT queue, count(*) FILTER (WHERE parked_on IS NULL) AS n"
                " FROM (SELECT queue, parked_on FROM jobs WHERE " DUE
                " ORDER BY scheduled_at LIMIT " BOUND ") x GROUP BY queue),"
                " parked AS (SELECT queue, count(*) AS n, min(created_at) AS first"
                " FROM (SELECT queue, created_at FROM jobs WHERE " PARKED
                " ORDER BY parked_on LIMIT " BOUND ") x GROUP BY queue),"
                " started AS (SELECT queue, count(*) AS n FROM started_jobs GROUP BY queue),"
                " dead AS (SELECT queue, count(*) AS n FROM (SELECT queue FROM jobs"
                " WHERE listed_state = 'FAILURE' ORDER BY finished_at DESC LIMIT " BOUND ") x"
                " GROUP BY queue),"
                " names AS (SELECT queue FROM tasks UNION SELECT v FROM ready"
                " WHERE v IS NOT NULL UNION SELECT queue FROM due UNION SELECT queue FROM parked"
                " UNION SELECT queue FROM started UNION SELECT queue FROM dead"
                " UNION SELECT name FROM queues WHERE paused_at IS NOT NULL"
                " UNION SELECT name FROM limits WHERE scope = 'queue')"
                " SELECT queue, (SELECT count(*) FROM (SELECT 1 FROM jobs j"
                " WHERE j.queue = names.queue AND " WAITING
                " ORDER BY priority, enqueued_at LIMIT " BOUND ") x),"
                " due.n, started.n, dead.n,"
                " (SELECT (extract(epoch FROM least(min(first), parked.first)) * 1000000)::bigint"
                " FROM generate_series(0, 2) p, LATERAL (SELECT enqueued_at AS first"
                " FROM jobs j WHERE j.queue = names.queue AND priority = p AND " WAITING
                " ORDER BY enqueued_at LIMIT 1) y),"
                " (SELECT sum(n) FROM due), (SELECT sum(n) FROM dead),"
                " (SELECT (extract(epoch FROM paused_at) * 1000000)::bigint FROM queues q"
                " WHERE q.name = names.queue), parked.n, (SELECT sum(n) FROM parked)"
                " FROM names LEFT JOIN due USING (queue) LEFT JOIN started USING (queue)"
                " LEFT JOIN dead USING (queue) LEFT JOIN parked USING (queue) ORDER BY queue",
                0},
    [TASKS] = {"jobs_tasks",
               "WITH RECURSIVE " SEEN_TASKS " SELECT v FROM seen WHERE v IS NOT NULL"
               " UNION SELECT name FROM tasks ORDER BY 1",
               0},
    [WORKERS] = {"jobs_workers",
                 "SELECT worker, count(*) FROM started_jobs GROUP BY worker ORDER BY worker", 0},
};

DB_STATEMENTS(jobs_figures, statements);

static struct jobs_sum bounded(int64_t count)
{
    bool is_exact = count <= JOBS_COUNT_MAX;

    return (struct jobs_sum){is_exact ? count : JOBS_COUNT_MAX, is_exact};
}

/* Everything that is not counted is SUCCESS. */
static void estimate_success(struct jobs_counts *counts, int64_t estimate)
{
    int64_t others = 0;

    for (int i = 0; i < JOB_STATE_COUNT; i++)
        if (i != JOB_SUCCESS)
            others += counts->states[i].count;
    if (estimate < others)
        estimate = others;
    counts->total = (struct jobs_sum){estimate, false};
    counts->states[JOB_SUCCESS] = (struct jobs_sum){estimate - others, false};
}

enum err_code jobs_count(struct db *db, struct jobs_counts *ret_counts, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO(db_result_free) struct db_result *total = NULL;
    struct jobs_counts counts = {0};
    enum err_code rc = db_query(db, &statements[COUNT], DB_NO_ARGS, &rows, e);

    if (!rc)
        rc = db_query(db, &statements[TOTAL], DB_NO_ARGS, &total, e);
    if (rc)
        return rc;
    for (int row = 0; row < db_rows(rows); row++) {
        enum job_state state;

        if (job_state_parse(db_text(rows, row, 0), &state))
            counts.states[state] = bounded(db_int(rows, row, 1));
    }
    /* Nothing was walked when the estimate is large; a full walk knows more than the estimate. */
    if (db_int(total, 0, 0) >= 100000 || db_int(total, 0, 1) > JOBS_COUNT_MAX) {
        int64_t estimate = db_int(total, 0, 0);

        estimate_success(&counts, estimate > JOBS_COUNT_MAX ? estimate : JOBS_COUNT_MAX);
    } else {
        counts.total = bounded(db_int(total, 0, 1));
        counts.states[JOB_SUCCESS] = bounded(db_int(total, 0, 2));
    }
    *ret_counts = counts;
    return ERR_OK;
}

enum err_code jobs_count_total(struct db *db, struct jobs_sum *ret_total, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[TOTAL], DB_NO_ARGS, &rows, e);
    int64_t estimate;

    if (rc)
        return rc;
    estimate = db_int(rows, 0, 0);
    *ret_total = bounded(db_int(rows, 0, 1));
    if (estimate > JOBS_COUNT_MAX && (estimate >= 100000 || !ret_total->is_exact))
        *ret_total = (struct jobs_sum){estimate, false};
    return ERR_OK;
}

enum err_code jobs_list_queues(struct db *db, struct jobs_queues *ret_queues, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct jobs_queues queues = {0};
    enum err_code rc = db_query(db, &statements[QUEUES], DB_NO_ARGS, &rows, e);

    if (rc)
        return rc;
    queues.count = (size_t)db_rows(rows);
    queues.items = mem_array(queues.count, sizeof queues.items[0]);
    for (size_t i = 0; i < queues.count; i++) {
        int row = (int)i;

        /* The walks over due and dead jobs go over all queues at once: cut for one, cut for all. */
        queues.items[i] = (struct jobs_queue){
            .name = db_text(rows, row, 0),
            .waiting = bounded(db_int(rows, row, 1)),
            .scheduled = {db_int(rows, row, 2), db_int(rows, row, 6) <= JOBS_COUNT_MAX},
            .started = {db_int(rows, row, 3), true},
            .dead = {db_int(rows, row, 4), db_int(rows, row, 7) <= JOBS_COUNT_MAX},
            .oldest_us = db_int(rows, row, 5),
            .paused_us = db_int(rows, row, 8),
            .parked = {db_int(rows, row, 9), db_int(rows, row, 10) <= JOBS_COUNT_MAX},
        };
    }
    queues.rows = TAKE(rows);
    *ret_queues = queues;
    return ERR_OK;
}

void jobs_queues_add(struct jobs_queues *queues, const char *name)
{
    const struct jobs_sum none = {0, true};
    size_t at = 0;

    while (at < queues->count && strcmp(queues->items[at].name, name) < 0)
        at++;
    for (size_t i = 0; i < queues->count; i++)
        if (strcmp(queues->items[i].name, name) == 0)
            return;
    if (!text_is_name(name))
        return;
    queues->items = mem_resize(queues->items, (queues->count + 1) * sizeof queues->items[0]);
    memmove(&queues->items[at + 1], &queues->items[at],
            (queues->count - at) * sizeof queues->items[0]);
    queues->items[at] = (struct jobs_queue){.name = name,
                                            .waiting = none,
                                            .scheduled = none,
                                            .parked = none,
                                            .started = none,
                                            .dead = none};
    queues->count++;
}

void jobs_queues_release(struct jobs_queues *queues)
{
    mem_free(queues->items);
    if (queues->rows)
        db_result_free(queues->rows);
    *queues = (struct jobs_queues){0};
}

enum err_code jobs_list_tasks(struct db *db, struct db_result **ret_rows, struct err *e)
{
    return db_query(db, &statements[TASKS], DB_NO_ARGS, ret_rows, e);
}

enum err_code jobs_list_workers(struct db *db, struct db_result **ret_rows, struct err *e)
{
    return db_query(db, &statements[WORKERS], DB_NO_ARGS, ret_rows, e);
}
