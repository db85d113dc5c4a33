/* SPDX-License-Identifier: MIT
 *
 * jobs.tasks.prune(): deletes what has been kept long enough: finished jobs with their errors,
 * flows of which no job is left, answers kept for Idempotency-Key, refresh tokens that have
 * expired. In batches, each a transaction of its own: running it twice, or half, does no harm. What
 * its time does not suffice for is left to the next run, and the result says so.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/flows.h"
#include "common/idempotency.h"
#include "common/jobs_prune.h"
#include "common/mem.h"
#include "common/sessions.h"
#include "worker/task.h"

/* What one batch may take at most, and the end of the job after it. */
#define SPARE_US (15 * US_PER_S)

static bool has_time(const struct task_run *run) { return task_time_left_us(run) > SPARE_US; }

static enum err_code prune_jobs(const struct task_run *run, struct pruning *pruning, struct err *e)
{
    const struct retention retention = {.finished_s = run->conf->retention_seconds,
                                        .dead_s = run->conf->dead_retention_seconds};
    enum err_code rc = ERR_OK;

    while (!rc && !pruning->is_done && has_time(run))
        rc = jobs_prune(run->db, &retention, PRUNE_BATCH, pruning, e);
    return rc;
}

/* Until a batch is not full any more; ret_all tells whether that came to pass. */
static enum err_code prune_rows(const struct task_run *run,
                                enum err_code (*batch)(struct db *db, int max, int64_t *ret_count,
                                                       struct err *e),
                                int64_t *ret_total, bool *ret_all, struct err *e)
{
    int64_t count = PRUNE_BATCH;
    enum err_code rc = ERR_OK;

    *ret_total = 0;
    while (!rc && count == PRUNE_BATCH && has_time(run)) {
        rc = batch(run->db, PRUNE_BATCH, &count, e);
        if (!rc)
            *ret_total += count;
    }
    *ret_all = count < PRUNE_BATCH;
    return rc;
}

/* Flows of which no job is left. */
static enum err_code prune_flows(const struct task_run *run, int64_t *ret_total, struct err *e)
{
    int64_t before_us = clock_wall_us() - run->conf->retention_seconds * US_PER_S;
    int64_t count = PRUNE_BATCH;
    enum err_code rc = ERR_OK;

    *ret_total = 0;
    while (!rc && count == PRUNE_BATCH && has_time(run)) {
        rc = flows_prune(run->db, before_us, PRUNE_BATCH, &count, e);
        if (!rc)
            *ret_total += count;
    }
    return rc;
}

static enum task_outcome run_prune(struct task_run *run, struct err *e)
{
    struct pruning pruning = {0};
    int64_t keys = 0;
    int64_t tokens = 0;
    int64_t flows = 0;
    bool all_keys = false;
    bool all_tokens = false;
    char text[200];

    if (prune_rows(run, idempotency_prune, &keys, &all_keys, e) ||
        prune_rows(run, sessions_prune, &tokens, &all_tokens, e) || prune_jobs(run, &pruning, e) ||
        prune_flows(run, &flows, e))
        return task_outcome_of(e);
    (void)snprintf(text, sizeof text,
                   "{\"jobs\":%" PRId64 ",\"flows\":%" PRId64 ",\"idempotency_keys\":%" PRId64
                   ",\"refresh_tokens\":%" PRId64 ",\"all\":%s}",
                   pruning.count, flows, keys, tokens,
                   all_keys && all_tokens && pruning.is_done ? "true" : "false");
    run->result = mem_dup(text);
    return TASK_DONE;
}

const struct task task_prune = {.name = "jobs.tasks.prune",
                                .queue = "default",
                                .max_attempts = 3,
                                .soft_limit_s = 240,
                                .hard_limit_s = 300,
                                .run = run_prune};
