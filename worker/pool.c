/* SPDX-License-Identifier: MIT
 *
 * The items of a worker process behind one mutex; see pool.h. A singly linked list in order of
 * arrival: at most a few hundred items, of which each operation wants the first that fits.
 */
#include "worker/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work; /* an item is WAITING, or the pool is closed: wakes slots */
    pthread_cond_t room; /* an item left: wakes fetch and whoever waits for idleness */
    pthread_cond_t done; /* an item is DONE, or somebody poked: wakes the keeper */
    struct item *first;
    struct pool_count count;
    int capacity;
    bool closed;
    bool poked;
};

static void init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

struct pool *pool_new(int slots, int prefetch)
{
    struct pool *pool = mem_alloc(sizeof *pool);

    pthread_mutex_init(&pool->lock, NULL);
    init_cond(&pool->work);
    init_cond(&pool->room);
    init_cond(&pool->done);
    pool->capacity = slots + prefetch;
    return pool;
}

static void item_free(struct item *item)
{
    queue_delivery_release(&item->delivery);
    job_release(&item->job);
    mem_free(item);
}

void pool_free(struct pool *pool)
{
    struct item *next;

    if (!pool)
        return;
    for (struct item *item = pool->first; item; item = next) {
        next = item->next;
        item_free(item);
    }
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->room);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool);
}

static int *counter(struct pool *pool, enum item_state state)
{
    switch (state) {
    case ITEM_CLAIMING:
        return &pool->count.claiming;
    case ITEM_WAITING:
        return &pool->count.waiting;
    case ITEM_RUNNING:
        return &pool->count.running;
    case ITEM_DONE:
        break;
    }
    return &pool->count.done;
}

static void set_state(struct pool *pool, struct item *item, enum item_state state)
{
    (*counter(pool, item->state))--;
    (*counter(pool, state))++;
    item->state = state;
}

/* Unlinks and frees. The lock is held. */
static void drop(struct pool *pool, struct item *item)
{
    struct item **link = &pool->first;

    while (*link != item)
        link = &(*link)->next;
    *link = item->next;
    (*counter(pool, item->state))--;
    item_free(item);
}

static int room_left(const struct pool *pool)
{
    int used = pool->count.claiming + pool->count.waiting + pool->count.running;

    return used < pool->capacity ? pool->capacity - used : 0;
}

/* Waits on `cond` until the deadline; false when it has passed. The lock is held. */
static bool wait_until(struct pool *pool, pthread_cond_t *cond, int64_t deadline_us)
{
    struct timespec deadline = clock_timespec(deadline_us);

    return pthread_cond_timedwait(cond, &pool->lock, &deadline) == 0;
}

int pool_wait_room(struct pool *pool, int64_t timeout_us)
{
    int64_t deadline_us = clock_mono_us() + timeout_us;
    int room;

    pthread_mutex_lock(&pool->lock);
    while ((room = room_left(pool)) == 0 && !pool->closed &&
           wait_until(pool, &pool->room, deadline_us))
        ;
    pthread_mutex_unlock(&pool->lock);
    return room;
}

struct item *pool_add(struct pool *pool, struct queue_delivery *take_delivery)
{
    struct item *item = mem_alloc(sizeof *item);
    struct item **link = &pool->first;

    item->delivery = *take_delivery;
    *take_delivery = (struct queue_delivery){0};
    pthread_mutex_lock(&pool->lock);
    while (*link)
        link = &(*link)->next;
    *link = item;
    pool->count.claiming++;
    pthread_mutex_unlock(&pool->lock);
    return item;
}

bool pool_holds(struct pool *pool, size_t stream, const char *entry)
{
    bool found = false;

    pthread_mutex_lock(&pool->lock);
    for (struct item *item = pool->first; item && !found; item = item->next)
        found = item->delivery.stream == stream && strcmp(item->delivery.entry, entry) == 0;
    pthread_mutex_unlock(&pool->lock);
    return found;
}

void pool_make_ready(struct pool *pool, struct item *item)
{
    pthread_mutex_lock(&pool->lock);
    set_state(pool, item, ITEM_WAITING);
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
}

struct item *pool_take(struct pool *pool)
{
    struct item *item = NULL;

    pthread_mutex_lock(&pool->lock);
    while (!pool->closed && pool->count.waiting == 0)
        pthread_cond_wait(&pool->work, &pool->lock);
    for (item = pool->closed ? NULL : pool->first; item && item->state != ITEM_WAITING;)
        item = item->next;
    if (item) {
        set_state(pool, item, ITEM_RUNNING);
        item->started_wall_us = clock_wall_us();
    }
    pthread_mutex_unlock(&pool->lock);
    return item;
}

void pool_set_hard_limit(struct pool *pool, struct item *item, int64_t killed_at_us)
{
    pthread_mutex_lock(&pool->lock);
    item->killed_at_us = killed_at_us;
    pthread_mutex_unlock(&pool->lock);
}

void pool_finish(struct pool *pool, struct item *item, bool acknowledge)
{
    pthread_mutex_lock(&pool->lock);
    if (acknowledge) {
        set_state(pool, item, ITEM_DONE);
        pthread_cond_signal(&pool->done);
    } else {
        drop(pool, item);
    }
    pthread_cond_broadcast(&pool->room);
    pthread_mutex_unlock(&pool->lock);
}

static size_t list(struct pool *pool, bool (*wanted)(const struct item *),
                   struct queue_entry *entries, size_t max)
{
    size_t count = 0;

    pthread_mutex_lock(&pool->lock);
    for (struct item *item = pool->first; item && count < max; item = item->next) {
        if (!wanted(item))
            continue;
        entries[count].stream = item->delivery.stream;
        (void)snprintf(entries[count].entry, sizeof entries[count].entry, "%s",
                       item->delivery.entry);
        count++;
    }
    pthread_mutex_unlock(&pool->lock);
    return count;
}

static bool is_renewed(const struct item *item) { return !item->lost; }

static bool is_done(const struct item *item) { return item->state == ITEM_DONE; }

size_t pool_list_held(struct pool *pool, struct queue_entry *entries, size_t max)
{
    return list(pool, is_renewed, entries, max);
}

size_t pool_list_done(struct pool *pool, struct queue_entry *entries, size_t max)
{
    return list(pool, is_done, entries, max);
}

/* An item that was listed as DONE stays where it is in the list, but another one before it may have
 * become DONE since: counting would forget that one, whose entry nobody has acknowledged. */
static bool is_listed(const struct item *item, const struct queue_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (entries[i].stream == item->delivery.stream &&
            strcmp(entries[i].entry, item->delivery.entry) == 0)
            return true;
    return false;
}

void pool_forget_done(struct pool *pool, const struct queue_entry *entries, size_t count)
{
    struct item *next;

    pthread_mutex_lock(&pool->lock);
    for (struct item *item = pool->first; item; item = next) {
        next = item->next;
        /* Others may have become DONE since these were listed. */
        if (item->state == ITEM_DONE && is_listed(item, entries, count))
            drop(pool, item);
    }
    pthread_mutex_unlock(&pool->lock);
}

void pool_wait_done(struct pool *pool, int64_t timeout_us)
{
    int64_t deadline_us = clock_mono_us() + timeout_us;

    pthread_mutex_lock(&pool->lock);
    while (pool->count.done == 0 && !pool->poked && wait_until(pool, &pool->done, deadline_us))
        ;
    pool->poked = false;
    pthread_mutex_unlock(&pool->lock);
}

void pool_poke(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->poked = true;
    pthread_cond_signal(&pool->done);
    pthread_cond_broadcast(&pool->room);
    pthread_mutex_unlock(&pool->lock);
}

void pool_mark_lost(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    for (struct item *item = pool->first; item; item = item->next)
        item->lost = true;
    pthread_mutex_unlock(&pool->lock);
}

bool pool_find_overrun(struct pool *pool, int64_t now_us, struct uuid *ret_id, char *task,
                       size_t task_size)
{
    bool found = false;

    pthread_mutex_lock(&pool->lock);
    for (struct item *item = pool->first; item && !found; item = item->next) {
        if (item->state != ITEM_RUNNING || !item->killed_at_us || item->killed_at_us > now_us)
            continue;
        found = true;
        *ret_id = item->delivery.id;
        (void)snprintf(task, task_size, "%s",
                       item->job.task ? item->job.task : item->delivery.task);
    }
    pthread_mutex_unlock(&pool->lock);
    return found;
}

void pool_close(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->closed = true;
    pthread_cond_broadcast(&pool->work);
    pthread_cond_broadcast(&pool->room);
    pthread_mutex_unlock(&pool->lock);
}

bool pool_wait_idle(struct pool *pool, int64_t timeout_us)
{
    int64_t deadline_us = clock_mono_us() + timeout_us;
    bool idle;

    pthread_mutex_lock(&pool->lock);
    while (pool->count.running > 0 && wait_until(pool, &pool->room, deadline_us))
        ;
    idle = pool->count.running == 0;
    pthread_mutex_unlock(&pool->lock);
    return idle;
}

void pool_visit(struct pool *pool, enum item_state state,
                bool (*fn)(struct item *item, void *context), void *context)
{
    struct item *next;

    pthread_mutex_lock(&pool->lock);
    for (struct item *item = pool->first; item; item = next) {
        next = item->next;
        if (item->state == state && fn(item, context))
            drop(pool, item);
    }
    pthread_mutex_unlock(&pool->lock);
}

struct pool_count pool_counts(struct pool *pool)
{
    struct pool_count count;

    pthread_mutex_lock(&pool->lock);
    count = pool->count;
    pthread_mutex_unlock(&pool->lock);
    return count;
}
