/* SPDX-License-Identifier: MIT
 *
 * Giving back what a process holds and will not finish: PENDING again, with a new entry, and no
 * attempt lost. For the main thread.
 */
#ifndef WORKER_GIVE_BACK_H
#define WORKER_GIVE_BACK_H

#include "common/db.h"
#include "common/redis.h"
#include "worker/process.h"

/* All durable jobs in this state that are still ours. What cannot be given back now comes back by
 * its entry once the lease is over, with its attempt counted. */
void give_back(struct process *process, struct db *db, struct redis *redis, enum item_state state);

#endif
