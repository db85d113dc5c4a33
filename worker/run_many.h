/* SPDX-License-Identifier: MIT
 *
 * Running a batch of jobs of one task that declares run_many(); see task.h.
 */
#ifndef WORKER_RUN_MANY_H
#define WORKER_RUN_MANY_H

#include <stddef.h>

#include "worker/pool.h"
#include "worker/slot.h"

/* Runs and settles the items, all of the same task, and hands them back to the pool. */
void run_many(const struct slot *slot, struct item *const *items, size_t count);

#endif
