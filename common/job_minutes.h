/* SPDX-License-Identifier: MIT
 *
 * Figures of each minute, for the charts: written once a minute by the leading scheduler, kept for
 * a week. How many jobs ended comes from what the workers count (fast jobs, too), so it costs
 * nothing at any rate; latencies come from the newest jobs, waiting from the rows.
 */
#ifndef COMMON_JOB_MINUTES_H
#define COMMON_JOB_MINUTES_H

#include <stdint.h>

#include <jansson.h>

#include "common/db.h"
#include "common/err.h"
#include "common/jobs_figures.h"

/* What a worker process has counted since it began. */
struct worker_counts {
    const char *name;
    const char *started_at; /* RFC 3339 */
    int64_t succeeded;
    int64_t failed;
    int64_t retried;
};

/* Adds what the worker has counted since the last call to the current minute's row. */
enum err_code job_minutes_count(struct db *db, const struct worker_counts *counts,
                                struct err *e) MUST_CHECK;

/* The same for each queue; `processed` is an object of its names and numbers. */
enum err_code job_minutes_count_queues(struct db *db, const struct worker_counts *counts,
                                       const json_t *processed, struct err *e) MUST_CHECK;

/* Completes the rows of the minute that is over, with latencies and waiting jobs, and forgets old
 * rows. A second call for the same minute changes nothing. */
enum err_code job_minutes_close(struct db *db, const struct jobs_queues *list,
                                struct err *e) MUST_CHECK;

/* The last `minutes` of a queue ("": of all together), oldest first, `step` minutes to a row: time,
 * succeeded, failed, retried (of all together only), waiting (at most), wait p50 and p95, run p50
 * and p95 (means; seconds, NULL: none), ended. */
enum err_code job_minutes_list(struct db *db, const char *queue, int minutes, int step,
                               struct db_result **ret_rows, struct err *e) MUST_CHECK;

#endif
