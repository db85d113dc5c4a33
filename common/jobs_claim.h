/* SPDX-License-Identifier: MIT
 *
 * How a worker makes delivered jobs its own: state STARTED, one attempt more, its name. What it
 * does with them from there on is in jobs_run.h, behind the fence of that attempt.
 */
#ifndef COMMON_JOBS_CLAIM_H
#define COMMON_JOBS_CLAIM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/db.h"
#include "common/err.h"
#include "common/job.h"
#include "common/queue.h"

/* What became of one delivery at the claim. */
enum claim_result {
    CLAIM_DROP,   /* finished, cancelled, held by another, or a duplicate: acknowledge and forget */
    CLAIM_PARKED, /* there is no room for it now: acknowledge, it comes back when there is. Or it is
                   * CLAIM_DROP: who is parked first is not told */
    CLAIM_RUN,    /* ours: state STARTED, attempt counted */
    CLAIM_EXPIRED, /* its time was over before this attempt: now REVOKED; acknowledge */
    CLAIM_DEAD,    /* its attempts are used up (it killed its workers): now FAILURE; acknowledge */
};

struct claim {
    enum claim_result result;
    struct job job; /* filled unless CLAIM_DROP or CLAIM_PARKED; owned, job_release() */
};

/* The limits of tasks and keys, as far as a claim must know: jobs that have none are claimed as if
 * there were none at all. How the last claims went decides which way the next one tries first; all
 * are right at any time, but none is the quickest for every batch. */
struct claim_rules {
    const char *tasks; /* array parameter: names of tasks with a limit */
    bool keys;         /* some keys have one */
    /* jobs_claim()'s own; zero at first. */
    bool mostly_limited; /* in the last batch few had none */
    bool parks;          /* some of the last batch that had a limit were not claimed */
    int refusals;        /* there was no room for a whole batch, so often in a row */
    int careful;         /* so many batches are asked for one by one before the next whole one */
};

/* Claims a batch: what waits and has no limit in one statement, the rest as far as it is there in
 * one or two more. `rules` is NULL while there is no limit of a task or a key. `claims` has one
 * element for each delivery, in their order, and is to be released only on success. When it fails
 * with ERR_UNAVAILABLE or ERR_TIMEOUT the claim may have been made: call again with `retried` true,
 * which lets this worker claim what it claimed before by the same deliveries. */
enum err_code jobs_claim(struct db *db, const char *worker, const struct queue_delivery *deliveries,
                         size_t count, struct claim_rules *rules, bool retried,
                         struct claim *claims, struct err *e) MUST_CHECK;

/* Takes the claim of a job back that was made by this entry and has not been run: PENDING again,
 * and the attempt is not counted. False: it is not ours any more. */
enum err_code jobs_unclaim(struct db *db, const char *worker, const char *entry,
                           const struct job *job, bool *ret_released, struct err *e) MUST_CHECK;

/* PENDING or RETRY -> FAILURE, without an attempt, for a row whose claim PostgreSQL refuses. False:
 * there is no such row. */
enum err_code jobs_bury_unclaimable(struct db *db, const struct uuid *id, const char *error,
                                    bool *ret_buried, struct err *e) MUST_CHECK;

/* One row of a claim's answer: state, task, queue, priority, attempt, max_attempts, args, kwargs,
 * created_us, headers, traceparent, snoozes, has_places from its second column on. Owned. */
void jobs_claimed(const struct db_result *rows, int row, const struct uuid *id,
                  struct job *ret_job);

#endif
