/* SPDX-License-Identifier: MIT
 *
 * jobs.tasks.prune(): deletes what has been kept long enough: finished jobs with their errors,
 * flows of which no job is left, answers kept for Idempotency-Key, refresh tokens and logins that
 * have expired, the audit log, the gateway's events. In batches, each a transaction of its own:
 * running it twice, or half, does no harm. What its time does not suffice for is left to the next
 * run, and the result says so.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/audit.h"
#include "common/clock.h"
#include "common/flows.h"
#include "common/gateway_events.h"
#include "common/idempotency.h"
#include "common/jobs_prune.h"
#include "common/logins.h"
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

/* The same for what goes by its age, or by the time that is given. */
static enum err_code prune_old(const struct task_run *run,
                               enum err_code (*batch)(struct db *db, int64_t age, int max,
                                                      int64_t *ret_count, struct err *e),
                               int64_t age, int64_t *ret_total, bool *all, struct err *e)
{
    int64_t count = PRUNE_BATCH;
    enum err_code rc = ERR_OK;

    *ret_total = 0;
    while (!rc && count == PRUNE_BATCH && has_time(run)) {
        rc = batch(run->db, age, PRUNE_BATCH, &count, e);
        if (!rc)
            *ret_total += count;
    }
    *all = *all && count < PRUNE_BATCH;
    return rc;
}

/* What has been pruned beside jobs. */
struct pruned {
    int64_t flows;
    int64_t keys;
    int64_t tokens;
    int64_t logins;
    int64_t audit;
    int64_t events;
    bool all; /* nothing was left to the next run */
};

static enum err_code prune_others(const struct task_run *run, struct pruned *pruned, struct err *e)
{
    const struct conf *conf = run->conf;
    int64_t flows_before_us = clock_wall_us() - conf->retention_seconds * US_PER_S;
    bool flows = true; /* those whose jobs were left go with them */
    bool keys = false;
    bool tokens = false;
    bool logins = false;
    bool rest = true;
    enum err_code rc = prune_rows(run, idempotency_prune, &pruned->keys, &keys, e);

    if (!rc)
        rc = prune_rows(run, sessions_prune, &pruned->tokens, &tokens, e);
    if (!rc)
        rc = prune_rows(run, logins_prune, &pruned->logins, &logins, e);
    if (!rc)
        rc = prune_old(run, audit_prune, conf->audit_retention_seconds, &pruned->audit, &rest, e);
    if (!rc)
        rc = prune_old(run, gateway_events_prune, conf->event_retention_seconds, &pruned->events,
                       &rest, e);
    if (!rc)
        rc = prune_old(run, flows_prune, flows_before_us, &pruned->flows, &flows, e);
    pruned->all = keys && tokens && logins && rest;
    return rc;
}

static enum task_outcome run_prune(struct task_run *run, struct err *e)
{
    struct pruning pruning = {0};
    struct pruned pruned = {0};
    char text[300];

    if (prune_jobs(run, &pruning, e) || prune_others(run, &pruned, e))
        return task_outcome_of(e);
    (void)snprintf(text, sizeof text,
                   "{\"jobs\":%" PRId64 ",\"flows\":%" PRId64 ",\"idempotency_keys\":%" PRId64
                   ",\"refresh_tokens\":%" PRId64 ",\"dashboard_sessions\":%" PRId64
                   ",\"audit\":%" PRId64 ",\"gateway_events\":%" PRId64 ",\"all\":%s}",
                   pruning.count, pruned.flows, pruned.keys, pruned.tokens, pruned.logins,
                   pruned.audit, pruned.events, pruned.all && pruning.is_done ? "true" : "false");
    run->result = mem_dup(text);
    return TASK_DONE;
}

const struct task task_prune = {.name = "jobs.tasks.prune",
                                .queue = "default",
                                .max_attempts = 3,
                                .soft_limit_s = 240,
                                .hard_limit_s = 300,
                                .run = run_prune};
