/* SPDX-License-Identifier: MIT
 *
 * What a worker process holds: every stream entry from the moment it was read until it is
 * acknowledged, and the threads ("slots") that wait for work. One mutex guards all of it; nothing
 * here talks to a server.
 *
 *   fetch:  pool_add() -> claim -> pool_make_ready() or pool_finish()
 *   slot:   pool_take() -> run, settle -> pool_finish()
 *   keeper: pool_list_held() to renew leases, pool_list_done() to acknowledge
 */
#ifndef WORKER_POOL_H
#define WORKER_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/job.h"
#include "common/queue.h"

enum item_state {
    ITEM_CLAIMING, /* read; whether it is ours to run is not known yet */
    ITEM_WAITING,  /* claimed, waits for a slot */
    ITEM_RUNNING,
    ITEM_DONE, /* settled; to be acknowledged */
};

struct item {
    struct item *next;
    struct queue_delivery delivery;
    struct job job; /* filled for durable jobs by the claim */
    enum item_state state;
    bool lost;               /* our lease ran out: another may have it; no longer renewed */
    int64_t started_wall_us; /* RUNNING */
    int64_t killed_at_us;    /* RUNNING: monotonic time of its hard limit; 0: none */
};

struct pool;

/* `prefetch`: how many items beyond the free slots there is room for. */
struct pool *pool_new(int slots, int prefetch);
void pool_free(struct pool *pool);

/* Waits until there is room or the time is over; gives the room (0 or more). */
int pool_wait_room(struct pool *pool, int64_t timeout_us);

/* Takes the delivery over (`delivery` is emptied). The item belongs to the pool. */
struct item *pool_add(struct pool *pool, struct queue_delivery *take_delivery);
bool pool_holds(struct pool *pool, size_t stream, const char *entry);
void pool_make_ready(struct pool *pool, struct item *item);

/* Waits for an item to run, marks it RUNNING and gives it; NULL once the pool is closed. */
struct item *pool_take(struct pool *pool);
void pool_set_hard_limit(struct pool *pool, struct item *item, int64_t killed_at_us);

/* The item is settled (to be acknowledged), or given up without an acknowledgement and freed. */
void pool_finish(struct pool *pool, struct item *item, bool acknowledge);

/* Copies of what is held; at most `max`; how many. */
size_t pool_list_held(struct pool *pool, struct queue_entry *entries, size_t max);
size_t pool_list_done(struct pool *pool, struct queue_entry *entries, size_t max);
/* These, as pool_list_done() gave them, are acknowledged: forget them. */
void pool_forget_done(struct pool *pool, const struct queue_entry *entries, size_t count);
/* Waits until an item is DONE, the pool is poked, or the time is over. */
void pool_wait_done(struct pool *pool, int64_t timeout_us);
void pool_poke(struct pool *pool);

/* Everything held now is no longer renewed. */
void pool_mark_lost(struct pool *pool);
/* Whether a RUNNING item is past its hard limit; copies its id and task for the log. */
bool pool_find_overrun(struct pool *pool, int64_t now_us, struct uuid *ret_id, char *task,
                       size_t task_size);

/* No more pool_take(): the slots go home once they are done. */
void pool_close(struct pool *pool);
/* Waits until nothing is RUNNING or the time is over. */
bool pool_wait_idle(struct pool *pool, int64_t timeout_us);
/* Calls fn for each item in `state`, under the lock; fn returns whether to remove and free it. */
void pool_visit(struct pool *pool, enum item_state state,
                bool (*fn)(struct item *item, void *context), void *context);

struct pool_count {
    int claiming;
    int waiting;
    int running;
    int done;
};

struct pool_count pool_counts(struct pool *pool);

#endif
