/* SPDX-License-Identifier: MIT
 *
 * The threads that run jobs: started and sent home to make any number of them. For the main thread
 * alone.
 */
#ifndef WORKER_SLOTS_H
#define WORKER_SLOTS_H

#include <stdbool.h>

#include "worker/process.h"

struct slots;

struct slots *slots_new(struct process *process);

/* So many from now on: 1 to SEAT_SLOTS_MAX. Those that are too many go home after the job that they
 * run. False: a thread could not be started; there are as many as could. */
bool slots_fit(struct slots *slots, int wanted);
int slots_wanted(const struct slots *slots);

/* Waits for all of them: the pool has to be closed. Frees. */
void slots_end(struct slots *slots);

#endif
