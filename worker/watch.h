/* SPDX-License-Identifier: MIT
 *
 * What the main thread of a worker process looks at, once a second and whenever it is woken: the
 * size of the pool, whether it is time to be replaced, whether a revoked job heeds it, whether the
 * fetch thread hears what waits. It owns a connection to Redis of its own, which it uses only when
 * there is a reason to ask.
 */
#ifndef WORKER_WATCH_H
#define WORKER_WATCH_H

#include "common/redis.h"
#include "worker/process.h"
#include "worker/slots.h"

enum watch_verdict {
    WATCH_ON,        /* nothing to end for */
    WATCH_STOP,      /* ordered: end as by TERM, and do not be replaced */
    WATCH_LEAVE,     /* nothing is held any more: end, and be replaced */
    WATCH_STUCK,     /* a thread does not go on: end, and be replaced */
    WATCH_OVERRUN,   /* a job is past its hard limit: give back the others and end at once */
    WATCH_TERMINATE, /* a revoked job does not end: finish the others and end without it */
};

struct watch;

/* Borrows all of it. */
struct watch *watch_new(struct process *process, struct slots *slots, struct redis *redis);

enum watch_verdict watch_look(struct watch *watch);

/* How long it may sleep until it has to look again. */
int64_t watch_pause_us(const struct watch *watch);

#endif
