/* SPDX-License-Identifier: MIT
 *
 * Waiting for a pool: for room, for a free slot, for what is to be acknowledged, for idleness; see
 * pool.h. Nobody is woken for what is not there yet: with ten short jobs in hand that would be a
 * change of context or two for each of them.
 */
#include "worker/pool.h"

#include "common/clock.h"
#include "worker/batch.h"
#include "worker/pool_private.h"

enum {
    WAIT_GOAL_US = 50 * 1000, /* so long an item may have to wait for a slot of this process */
    DONE_MAX = 512,           /* while more wait to be acknowledged nothing is read */
    GATHER_MAX = 64,          /* so many are worth an acknowledgement by themselves */
};

/* ---- how much ---- */

static int held_ready(const struct pool *pool)
{
    return pool_count_of(pool, ITEM_WAITING) + pool_count_of(pool, ITEM_RUNNING);
}

/* How many jobs the slots get through while one may wait. */
static int64_t jobs_ahead(const struct pool *pool)
{
    return pool->slots * WAIT_GOAL_US / (pool->pace.all_us + 1);
}

static int room_left(const struct pool *pool)
{
    int64_t prefetch = jobs_ahead(pool);
    int used = pool_count_of(pool, ITEM_CLAIMING) + held_ready(pool);
    int capacity;

    if (pool_count_of(pool, ITEM_DONE) >= DONE_MAX)
        return 0;
    if (prefetch > pool->prefetch_max)
        prefetch = pool->prefetch_max;
    capacity = pool->slots + (int)prefetch;
    return used < capacity ? capacity - used : 0;
}

/* Waits on `cond` until the deadline; false when it has passed. The lock is held. */
static bool wait_until(struct pool *pool, pthread_cond_t *cond, int64_t deadline_us)
{
    struct timespec deadline = clock_timespec(deadline_us);

    return pthread_cond_timedwait(cond, &pool->lock, &deadline) == 0;
}

static int room_to_fill(const struct pool *pool)
{
    return pace_room(room_left(pool), held_ready(pool), pool->slots, jobs_ahead(pool));
}

int pool_wait_room(struct pool *pool, int64_t timeout_us)
{
    int64_t deadline_us = clock_mono_us() + timeout_us;
    int room;

    pthread_mutex_lock(&pool->lock);
    pool->await_room++;
    while ((room = room_to_fill(pool)) == 0 && !pool->closed &&
           wait_until(pool, &pool->room, deadline_us))
        ;
    pool->await_room--;
    pthread_mutex_unlock(&pool->lock);
    return room;
}

static int slots_free(const struct pool *pool)
{
    int used = pool_count_of(pool, ITEM_CLAIMING) + held_ready(pool);

    if (pool->pace.all_us <= BATCH_GOAL_US)
        return room_left(pool);
    return used < pool->slots ? pool->slots - used : 0;
}

int pool_slots_free(struct pool *pool)
{
    int free;

    pthread_mutex_lock(&pool->lock);
    free = slots_free(pool);
    pthread_mutex_unlock(&pool->lock);
    return free;
}

void pool_wait_slot(struct pool *pool, int64_t timeout_us)
{
    pthread_mutex_lock(&pool->lock);
    pool->await_slot++;
    if (slots_free(pool) == 0 && !pool->closed)
        (void)wait_until(pool, &pool->room, clock_mono_us() + timeout_us);
    pool->await_slot--;
    pthread_mutex_unlock(&pool->lock);
}

/* Whether more is likely to be DONE soon, and what is may wait for it. */
static bool may_gather(const struct pool *pool)
{
    return !pool->poked && !pool->hurries && !pool->closed && held_ready(pool) > 0 &&
           pool_count_of(pool, ITEM_DONE) < GATHER_MAX;
}

void pool_wait_done(struct pool *pool, int64_t timeout_us, int64_t gather_us)
{
    int64_t deadline_us = clock_mono_us() + timeout_us;

    pthread_mutex_lock(&pool->lock);
    while (pool_count_of(pool, ITEM_DONE) == 0 && !pool->poked &&
           wait_until(pool, &pool->done, deadline_us))
        ;
    pool->gathers = true;
    deadline_us = clock_mono_us() + gather_us;
    while (gather_us > 0 && pool_count_of(pool, ITEM_DONE) > 0 && may_gather(pool) &&
           wait_until(pool, &pool->done, deadline_us))
        ;
    pool->gathers = false;
    pool->hurries = false;
    pool->poked = false;
    pthread_mutex_unlock(&pool->lock);
}

void pool_wake_after_end(struct pool *pool)
{
    if (pool_count_of(pool, ITEM_DONE) > 0 && !(pool->gathers && may_gather(pool)))
        pthread_cond_signal(&pool->done);
    if ((pool->await_room > 0 && room_to_fill(pool) > 0) ||
        (pool->await_slot > 0 && slots_free(pool) > 0) ||
        (pool->await_idle > 0 && pool_count_of(pool, ITEM_RUNNING) == 0))
        pthread_cond_broadcast(&pool->room);
}

void pool_poke(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->poked = true;
    pthread_cond_signal(&pool->done);
    pthread_cond_broadcast(&pool->room);
    pthread_mutex_unlock(&pool->lock);
}

bool pool_wait_idle(struct pool *pool, int64_t timeout_us)
{
    int64_t deadline_us = clock_mono_us() + timeout_us;
    bool idle;

    pthread_mutex_lock(&pool->lock);
    pool->await_idle++;
    while (pool_count_of(pool, ITEM_RUNNING) > 0 && wait_until(pool, &pool->room, deadline_us))
        ;
    pool->await_idle--;
    idle = pool_count_of(pool, ITEM_RUNNING) == 0;
    pthread_mutex_unlock(&pool->lock);
    return idle;
}
