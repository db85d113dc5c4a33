/* SPDX-License-Identifier: MIT
 *
 * Claiming what the fetch thread has read. For that thread alone.
 */
#ifndef WORKER_INTAKE_H
#define WORKER_INTAKE_H

#include "common/db.h"
#include "common/limits.h"
#include "common/queue.h"
#include "worker/process.h"

enum { INTAKE_MAX = 256 /* deliveries at once */ };

struct intake {
    struct process *process;
    struct db *db;
    struct limit_list limits; /* of tasks and keys; the fetch thread's */
};

/* Moves the deliveries into the pool and claims them; comes back once they are claimed, or, when
 * the process stops, left to others. */
void intake_take(struct intake *intake, struct queue_deliveries *deliveries);

#endif
