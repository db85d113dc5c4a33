/* SPDX-License-Identifier: MIT
 *
 * Reading a queue that has a limit, without a counter that could leak. One script asks the group
 * how many entries are pending in the queue's three streams, that is how many are held by whatever
 * worker, looks into the bucket of tokens, reads as many as both allow, and takes the tokens for
 * what it read. What a dead worker held counts until it is taken over and settled.
 *
 * Who waits for such a queue waits for more than entries: for a place, and for the next token.
 */
#ifndef COMMON_QUEUE_LIMIT_H
#define COMMON_QUEUE_LIMIT_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/limit.h"
#include "common/queue.h"
#include "common/queue_script.h"
#include "common/redis.h"

/* What stands in the way of more than was read. */
struct queue_gate {
    bool is_full;    /* as many are pending as may be */
    int64_t wait_us; /* until the next token; 0: there is one */
};

/* Who reads what: the queue's three streams, in the order of reading. */
struct queue_read_order {
    const struct queue_stream *streams;
    const char *consumer;
    const struct limit *limit;
};

/* Reads at most `max` new entries, as far as the limit allows, without waiting. `script`: zero it
 * first; it belongs to one connection's owner. The index of a delivery is into order->streams. What
 * was read before an error comes with it. */
enum err_code queue_read_limited(struct redis *redis, struct queue_script *script,
                                 const struct queue_read_order *order, int max,
                                 struct queue_deliveries *ret_deliveries,
                                 struct queue_gate *ret_gate, struct err *e) MUST_CHECK;

/* Something to wait for: entries of a stream, or a free place in a queue with a concurrency. */
struct queue_watch {
    struct queue_stream stream; /* with `is_place`: any of the queue */
    bool is_place;
    char last[QUEUE_ENTRY_SIZE]; /* what comes after this is new */
};

/* Sets `last` of each to what is there now. Look for work after this, and then wait: so nothing
 * that comes in between is missed. */
enum err_code queue_watch_from_now(struct redis *redis, struct queue_watch *watches, size_t count,
                                   struct err *e) MUST_CHECK;

/* Waits up to `block_ms` until one of them has something new, which stays where it is. */
enum err_code queue_watch_wait(struct redis *redis, const struct queue_watch *watches, size_t count,
                               int block_ms, bool *ret_new, struct err *e) MUST_CHECK;

/* Tells those who wait for a place in these queues that entries were acknowledged. */
enum err_code queue_tell_place(struct redis *redis, const struct queue_stream *const *streams,
                               size_t count, struct err *e) MUST_CHECK;

#endif
