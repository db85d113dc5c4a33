/* SPDX-License-Identifier: MIT
 *
 * A new job as the parameters of an INSERT: for jobs.c and jobs_unique.c, which share the columns,
 * the order of the parameters and what is made of each. A column more is one here, in each place.
 */
#ifndef COMMON_JOB_PARAMS_H
#define COMMON_JOB_PARAMS_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/db.h"
#include "common/err.h"
#include "common/jobs.h"
#include "common/trace.h"

#define JOB_COLUMNS                                                                                \
    "id, task, queue, priority, args, kwargs, max_attempts, scheduled_at, enqueued_at,"            \
    " expires_at, headers, traceparent, retention_s, limit_key"

/* Queue and attempts come from the caller, else from the task's declaration, else from here. */
#define JOB_QUEUE "coalesce(n.queue, t.queue, 'default')"
#define JOB_ATTEMPTS "coalesce(nullif(n.max_attempts, 0), t.max_attempts, 10)"

/* Arrays with one element a job. One that holds nothing but NULLs is given as NULL. */
#define JOB_ARRAYS_GIVEN                                                                           \
    "unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::jsonb[], $6::jsonb[],"         \
    " $7::int[], $8::timestamptz[], $9::timestamptz[], $10::jsonb[], $11::text[], $12::int[],"     \
    " $13::text[]"
#define JOB_ARRAY_NAMES                                                                            \
    "id, task, queue, priority, args, kwargs, max_attempts, scheduled_at, expires_at, headers,"    \
    " traceparent, retention_s, limit_key"
#define JOB_VALUES                                                                                 \
    "n.id, n.task, " JOB_QUEUE ", n.priority, coalesce(n.args, '[]'), coalesce(n.kwargs, '{}'),"   \
    " " JOB_ATTEMPTS ", coalesce(n.scheduled_at, now()),"                                          \
    " CASE WHEN n.scheduled_at IS NULL THEN now() END,"                                            \
    " n.expires_at, n.headers, n.traceparent, n.retention_s, n.limit_key"
#define JOB_ARRAYS_AND_KEYS                                                                        \
    ", $14::text[], $15::int[]) WITH ORDINALITY AS n (" JOB_ARRAY_NAMES ", unique_key,"            \
    " unique_ttl_s, place)"

/* How many parameters: without the two of a unique key, and with them. */
enum { JOB_PARAMS_PLAIN = 13, JOB_PARAMS_ALL = 15 };

/* Times, numbers and the trace of one job as texts; NULL where it says nothing. */
struct job_params {
    char scheduled[CLOCK_TEXT_SIZE];
    char expires[CLOCK_TEXT_SIZE];
    char trace[TRACE_TEXT_SIZE];
    char priority[24];
    char attempts[24];
    char retention[24];
    char ttl[24];
    const char *values[JOB_PARAMS_ALL];
};

void job_params_write(const struct job_new *job, const struct uuid *id, struct job_params *params);

/* The same for many jobs, each parameter an array. */
struct job_arrays {
    struct buf items[JOB_PARAMS_ALL];
    bool used[JOB_PARAMS_ALL]; /* one of its elements is not NULL */
};

void job_arrays_init(struct job_arrays *arrays);
void job_arrays_release(struct job_arrays *arrays);
void job_arrays_add(struct job_arrays *arrays, const struct uuid *id, const struct job_new *job);

/* Ends the arrays and runs a statement that takes the first of them. */
enum err_code job_arrays_run(struct db *db, const struct db_stmt *stmt, struct job_arrays *arrays,
                             struct db_result **ret_rows, struct err *e) MUST_CHECK;

/* What is known of a job before it is inserted; its id is made when it has none. */
struct job_ready job_ready_of(const struct job_new *job);
void job_ready_set_queue(struct job_ready *ready, const char *queue);

#endif
