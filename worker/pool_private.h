/* SPDX-License-Identifier: MIT
 *
 * What pool.c and pool_wait.c share of a pool, and nobody else. All with its lock held.
 */
#ifndef WORKER_POOL_PRIVATE_H
#define WORKER_POOL_PRIVATE_H

#include <pthread.h>

#include "worker/item_list.h"
#include "worker/pace.h"
#include "worker/pool.h"

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work; /* an item is WAITING, or the pool is closed: wakes slots */
    pthread_cond_t room; /* what is awaited below may be there */
    pthread_cond_t done; /* an item is DONE, or somebody poked: wakes the keeper */
    struct item_list lists[ITEM_STATE_COUNT];
    int slots;
    int prefetch_max;
    struct pace pace;
    int64_t finished; /* items that have run */
    int sleeping;     /* slots that wait for work */
    int attached;     /* slots that were started and have not been sent home */
    bool closed;
    bool poked;
    bool gathers;   /* the keeper waits for more to acknowledge */
    bool hurries;   /* among what is DONE is what must not wait */
    int await_room; /* threads that wait for room, */
    int await_slot; /* for a free slot, */
    int await_idle; /* for the end of all that runs */
};

static inline int pool_count_of(const struct pool *pool, enum item_state state)
{
    return pool->lists[state].count;
}

/* After the end of items: wakes whom that concerns. */
void pool_wake_after_end(struct pool *pool);

#endif
