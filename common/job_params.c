/* SPDX-License-Identifier: MIT
 *
 * New jobs as parameters; see job_params.h. Runs no statement of its own.
 */
#include "common/job_params.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The parameters of the statements that insert, in their order. Behind ALWAYS come those that most
 * jobs say nothing about. */
enum {
    IDS,
    TASKS,
    QUEUES,
    PRIORITIES,
    ARGS,
    KWARGS,
    ATTEMPTS,
    ALWAYS,
    TIMES = ALWAYS,
    EXPIRIES,
    HEADERS,
    TRACES,
    RETENTIONS,
    LIMIT_KEYS,
    PLAIN,
    KEYS = PLAIN,
    TTLS,
    ALL,
};

_Static_assert((int)PLAIN == JOB_PARAMS_PLAIN && (int)ALL == JOB_PARAMS_ALL,
               "job_params.h counts them");

static const char *number(char text[24], int64_t value)
{
    (void)snprintf(text, 24, "%" PRId64, value);
    return text;
}

static const char *time_or_null(char text[CLOCK_TEXT_SIZE], int64_t us)
{
    if (us)
        clock_format(us, text);
    return us ? text : NULL;
}

/* Versions that are not known yet are written as the one that is. */
static const char *trace_or_null(char text[TRACE_TEXT_SIZE], const char *traceparent)
{
    struct trace trace;

    if (!traceparent || !trace_parse(traceparent, &trace))
        return NULL;
    trace_format(&trace, text);
    return text;
}

void job_params_write(const struct job_new *job, const struct uuid *id, struct job_params *params)
{
    const char *const values[JOB_PARAMS_ALL] = {
        [IDS] = id->text,
        [TASKS] = job->task,
        [QUEUES] = job->queue,
        [PRIORITIES] = number(params->priority, job->priority),
        [ARGS] = job->args,
        [KWARGS] = job->kwargs,
        [ATTEMPTS] = number(params->attempts, job->max_attempts),
        [TIMES] = time_or_null(params->scheduled, job->scheduled_us),
        [EXPIRIES] = time_or_null(params->expires, job->expires_us),
        [HEADERS] = job->headers,
        [TRACES] = trace_or_null(params->trace, job->traceparent),
        [RETENTIONS] = job->retention_s ? number(params->retention, job->retention_s) : NULL,
        [LIMIT_KEYS] = job->limit_key,
        [KEYS] = job->unique_key,
        [TTLS] = job->unique_ttl_s ? number(params->ttl, job->unique_ttl_s) : NULL,
    };

    memcpy(params->values, values, sizeof values);
}

void job_arrays_init(struct job_arrays *arrays)
{
    for (int i = 0; i < JOB_PARAMS_ALL; i++) {
        buf_init(&arrays->items[i], JOBS_INSERT_BYTES);
        arrays->used[i] = i < ALWAYS;
    }
}

void job_arrays_release(struct job_arrays *arrays)
{
    for (int i = 0; i < JOB_PARAMS_ALL; i++)
        buf_release(&arrays->items[i]);
}

void job_arrays_add(struct job_arrays *arrays, const struct uuid *id, const struct job_new *job)
{
    struct job_params params;

    job_params_write(job, id, &params);
    for (int i = 0; i < JOB_PARAMS_ALL; i++) {
        db_array_add(&arrays->items[i], params.values[i]);
        arrays->used[i] |= params.values[i] != NULL;
    }
}

enum err_code job_arrays_run(struct db *db, const struct db_stmt *stmt, struct job_arrays *arrays,
                             struct db_result **ret_rows, struct err *e)
{
    struct db_param params[JOB_PARAMS_ALL];

    for (int i = 0; i < stmt->params; i++) {
        db_array_end(&arrays->items[i]);
        if (arrays->items[i].overflow)
            return err_set(e, ERR_INVALID, "the jobs of one statement have more than %d bytes",
                           JOBS_INSERT_BYTES);
        params[i] = DB_TEXT(arrays->used[i] ? arrays->items[i].data : NULL);
    }
    return db_query(db, stmt, (struct db_args){params, (size_t)stmt->params}, ret_rows, e);
}

struct job_ready job_ready_of(const struct job_new *job)
{
    return (struct job_ready){.id = *job->id.text ? job->id : uuid_v7(),
                              .priority = job->priority,
                              .is_ready = job->scheduled_us == 0};
}

void job_ready_set_queue(struct job_ready *ready, const char *queue)
{
    (void)snprintf(ready->queue, sizeof ready->queue, "%s", queue);
}
