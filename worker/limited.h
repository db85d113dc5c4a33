/* SPDX-License-Identifier: MIT
 *
 * Queues with a limit, as one process reads them: when each may be asked again, and what to wait
 * for while there is nothing to read. For the reader alone.
 */
#ifndef WORKER_LIMITED_H
#define WORKER_LIMITED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/queue.h"
#include "common/queue_limit.h"
#include "worker/process.h"

struct limited;

struct limited *limited_new(struct process *process);
void limited_free(struct limited *limited);

/* Looks at the limits of the process' queues. */
void limited_refresh(struct limited *limited);
/* Whether any queue that is not paused has a limit. */
bool limited_any(const struct limited *limited);
bool limited_has(const struct limited *limited, size_t queue);

/* Whether it is worth asking the queue now; else it is closed, or no slot is free to run what it
 * gives. */
bool limited_may_ask(struct limited *limited, size_t queue);

/* Reads up to `max` new entries of the queue. Their stream is an index into process->streams. */
enum err_code limited_read(struct limited *limited, struct redis *redis, size_t queue, int max,
                           struct queue_deliveries *ret_deliveries, struct err *e) MUST_CHECK;

/* Waits for whatever may make a round worth while: entries in the open streams, a place, a token, a
 * slot. May return at once, since what comes between a round and the wait must not be missed. */
enum err_code limited_wait(struct limited *limited, struct redis *redis, const size_t *open,
                           size_t open_count, int block_ms, struct err *e) MUST_CHECK;

#endif
