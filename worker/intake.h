/* SPDX-License-Identifier: MIT
 *
 * Claiming what the fetch thread has read. For that thread alone.
 */
#ifndef WORKER_INTAKE_H
#define WORKER_INTAKE_H

#include "common/buf.h"
#include "common/db.h"
#include "common/jobs_claim.h"
#include "common/limits.h"
#include "common/queue.h"
#include "worker/process.h"

enum { INTAKE_MAX = 512 /* deliveries at once */ };

struct intake {
    struct process *process;
    struct db *db;
    struct redis *redis;
    struct limit_list limits; /* of tasks and keys; the fetch thread's */
    struct claim_rules rules; /* the same, as a claim asks */
    struct buf limited_tasks; /* of the rules */
};

/* Other limits from now on. */
void intake_set_limits(struct intake *intake, struct limit_list *take_limits);
/* Not the connection, which is its owner's. */
void intake_release(struct intake *intake);

/* Moves the deliveries into the pool and claims them; comes back once they are claimed, or, when
 * the process stops, left to others. */
void intake_take(struct intake *intake, struct queue_deliveries *deliveries);

#endif
