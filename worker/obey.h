/* SPDX-License-Identifier: MIT
 *
 * Obeying what was ordered of this worker (common/worker_orders.h): the order becomes flags that
 * the threads look at.
 */
#ifndef WORKER_OBEY_H
#define WORKER_OBEY_H

#include "common/worker_orders.h"
#include "worker/process.h"

/* As the worker was set up, before anything is ordered. */
void obey_init(struct process *process);

/* For the control thread. */
void obey_order(struct process *process, const struct worker_order *order);

/* Likewise what it is to consume: queues that are new come behind those that it has, and those that
 * it leaves are flagged. Gives whether anything has changed. */
bool obey_consumers(struct process *process, const struct worker_order *order);

/* Whether an order of this age concerns what began `since_us` ago, and not only what was there
 * before it. Pure; a negative age is no order. */
bool obey_concerns(int64_t age_us, int64_t since_us);

#endif
