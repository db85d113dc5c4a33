/* SPDX-License-Identifier: MIT
 *
 * Places of limits that go from jobs of this process that end to jobs that are parked for them,
 * without a way through the scheduler and the stream: who ends claims who is next, in the same
 * statement (jobs_succeed_passing()). Such a job has no stream entry: its row alone says whose it
 * is, so it comes back by the replacement of a process that died, or by the scheduler.
 */
#ifndef WORKER_PASSING_H
#define WORKER_PASSING_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/jobs_succeed.h"
#include "worker/process.h"
#include "worker/settle.h"

struct pass {
    bool is_wanted; /* places are to be passed on; else they are given back */
    struct passing to;
    char delivery[PASSED_SIZE];
    struct buf queues;
};

/* Whether the places of a batch are passed on, and to whom: while this process takes work at all,
 * to jobs of the queues that the batch is of, as far as these are neither paused nor limited. */
void pass_init(struct pass *pass, struct process *process, const struct batch *batch);
void pass_release(struct pass *pass);

/* What was passed on waits for slots of this process from now on, behind whatever waits already. */
void pass_take(struct process *process, struct passed_jobs *take_next);

#endif
