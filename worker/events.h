/* SPDX-License-Identifier: MIT
 *
 * Changes of jobs on their way into the stream of events. Slots put them down, the keeper sends
 * them beside its acknowledgements. There is room for what may be sent in a tenth of a second; what
 * comes while it is full is counted and not kept, so that a hundred thousand fast jobs a second pay
 * for one atomic addition each.
 */
#ifndef WORKER_EVENTS_H
#define WORKER_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/job.h"
#include "common/redis.h"
#include "worker/pool.h"

enum { EVENTS_ROUND_MS = 100 };

struct events;

/* `per_second`: how many are sent at most; 0: none, and nothing is kept. */
struct events *events_new(int64_t per_second);

void events_add(struct events *events, const struct item *item, enum job_state state,
                int64_t runtime_us);

/* Whether some wait to be sent. */
bool events_wait(const struct events *events);
/* For the keeper alone: sends what waits, unless it has just done so. What cannot be sent is
 * dropped. */
void events_send(struct events *events, struct redis *redis, const char *worker);

#endif
