/* SPDX-License-Identifier: MIT
 *
 * The items of a worker process behind one mutex; see pool.h. One list a state, in order of arrival
 * in it, so that taking, finishing and acknowledging touch the items they are about and no others.
 *
 * How much is held ready follows the jobs: an average of their run times says how many a slot gets
 * through within WAIT_GOAL_US.
 */
#include "worker/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "worker/batch.h"
#include "worker/pool_private.h"
#include "worker/task.h"

const char *item_trace_id(const struct item *item, struct trace *ret_trace)
{
    const char *text = item->job.traceparent ? item->job.traceparent : item->delivery.traceparent;

    return text && trace_parse(text, ret_trace) ? ret_trace->id : NULL;
}

struct pool *pool_new(int slots, int prefetch_max)
{
    struct pool *pool = mem_alloc(sizeof *pool);

    pthread_mutex_init(&pool->lock, NULL);
    clock_cond_init(&pool->work);
    clock_cond_init(&pool->room);
    clock_cond_init(&pool->done);
    pool->slots = slots;
    pool->prefetch_max = prefetch_max;
    pace_init(&pool->pace);
    return pool;
}

int pool_resize(struct pool *pool, int slots)
{
    int missing;

    pthread_mutex_lock(&pool->lock);
    pool->slots = slots;
    missing = slots > pool->attached ? slots - pool->attached : 0;
    pool->attached += missing;
    pthread_cond_broadcast(&pool->work);
    pthread_cond_broadcast(&pool->room);
    pthread_mutex_unlock(&pool->lock);
    return missing;
}

int pool_slots(struct pool *pool)
{
    int slots;

    pthread_mutex_lock(&pool->lock);
    slots = pool->slots;
    pthread_mutex_unlock(&pool->lock);
    return slots;
}

void pool_detach(struct pool *pool, int count)
{
    pthread_mutex_lock(&pool->lock);
    pool->attached -= count;
    pthread_mutex_unlock(&pool->lock);
}

static void item_free(struct item *item)
{
    queue_delivery_release(&item->delivery);
    job_release(&item->job);
    mem_free(item->headers_line);
    mem_free(item);
}

/* ---- lists; the lock is held ---- */

static void set_state(struct pool *pool, struct item *item, enum item_state state)
{
    item_list_remove(&pool->lists[item->state], item);
    item->state = state;
    item_list_append(&pool->lists[state], item);
}

static void drop(struct pool *pool, struct item *item)
{
    item_list_remove(&pool->lists[item->state], item);
    item_free(item);
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    for (int state = 0; state < ITEM_STATE_COUNT; state++)
        while (pool->lists[state].first)
            drop(pool, pool->lists[state].first);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->room);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool);
}

/* ---- how much ---- */

void pool_note_runtime(struct pool *pool, const struct task *task, int64_t runtime_us, int count)
{
    pthread_mutex_lock(&pool->lock);
    pace_note(&pool->pace, task, runtime_us, count);
    pthread_mutex_unlock(&pool->lock);
}

/* How many of the sleeping slots have something to do: waking more would cost each of them two
 * changes of context for nothing. A guess; pool_take() makes up for it. The lock is held. */
static int slots_wanted(const struct pool *pool)
{
    const struct item *item = pool->lists[ITEM_WAITING].first;
    int wanted = 0;

    for (; item && wanted < pool->sleeping; wanted++)
        for (size_t taken = batch_size(&pool->pace, item, SLOT_BATCH_MAX); item && taken > 0;
             taken--)
            item = item->next;
    return wanted;
}

/* ---- fetch ---- */

struct item *pool_add(struct pool *pool, struct queue_delivery *take_delivery)
{
    struct item *item = mem_alloc(sizeof *item);

    item->delivery = *take_delivery;
    *take_delivery = (struct queue_delivery){0};
    pthread_mutex_lock(&pool->lock);
    item_list_append(&pool->lists[ITEM_CLAIMING], item);
    pthread_mutex_unlock(&pool->lock);
    return item;
}

bool pool_holds(struct pool *pool, size_t stream, const char *entry)
{
    bool found = false;

    pthread_mutex_lock(&pool->lock);
    for (int state = 0; state < ITEM_STATE_COUNT && !found; state++)
        for (const struct item *i = pool->lists[state].first; i && !found; i = i->next)
            found = i->delivery.stream == stream && strcmp(i->delivery.entry, entry) == 0;
    pthread_mutex_unlock(&pool->lock);
    return found;
}

void pool_rename(struct pool *pool, struct item *item, const struct uuid *id)
{
    pthread_mutex_lock(&pool->lock);
    item->delivery.id = *id;
    pthread_mutex_unlock(&pool->lock);
}

void pool_make_ready(struct pool *pool, struct item **items, size_t count, int takers)
{
    int wanted;

    pthread_mutex_lock(&pool->lock);
    for (size_t i = 0; i < count; i++)
        set_state(pool, items[i], ITEM_WAITING);
    pool->sleeping += takers;
    wanted = slots_wanted(pool) - takers;
    pool->sleeping -= takers;
    pthread_mutex_unlock(&pool->lock);
    while (wanted-- > 0) /* without the lock, which each of them takes first */
        pthread_cond_signal(&pool->work);
}

/* ---- slots ---- */

static struct item *begin(struct pool *pool, struct item *item, int64_t now_us)
{
    item->started_wall_us = now_us;
    set_state(pool, item, ITEM_RUNNING);
    return item;
}

/* For a task that takes many: the first one that waits, and all like it wherever they stand. One
 * whose worker has died with it may end this one, too: it goes alone. */
static size_t take_alike(struct pool *pool, struct item **items, size_t max, int64_t now_us)
{
    struct item *first = pool->lists[ITEM_WAITING].first;
    const struct task *task = first->task;
    struct item *next = first->next;
    size_t count = 0;

    if (max > (size_t)task->batch_max)
        max = (size_t)task->batch_max;
    if (first->delivery.taken_over)
        max = 1;
    items[count++] = begin(pool, first, now_us);
    for (struct item *item = next; item && count < max; item = next) {
        next = item->next;
        if (item->task == task && !item->delivery.taken_over)
            items[count++] = begin(pool, item, now_us);
    }
    return count;
}

/* Whether a slot that asks for work is to end. */
static bool goes_home(const struct pool *pool)
{
    return pool->closed || pool->attached > pool->slots;
}

size_t pool_take(struct pool *pool, struct item **items, size_t max)
{
    int64_t now_us;
    size_t count = 0;

    pthread_mutex_lock(&pool->lock);
    pool->sleeping++;
    while (!goes_home(pool) && pool_count_of(pool, ITEM_WAITING) == 0)
        pthread_cond_wait(&pool->work, &pool->lock);
    pool->sleeping--;
    now_us = clock_wall_us();
    if (goes_home(pool)) {
        pool->attached--;
        pthread_cond_signal(&pool->work); /* it may have been woken for what waits */
    } else if (batch_is_many(pool->lists[ITEM_WAITING].first)) {
        count = take_alike(pool, items, max, now_us);
    } else {
        max = batch_size(&pool->pace, pool->lists[ITEM_WAITING].first, max);
        while (count < max && pool->lists[ITEM_WAITING].first)
            items[count++] = begin(pool, pool->lists[ITEM_WAITING].first, now_us);
    }
    /* More of them were wanted than were woken. */
    if (count > 0 && pool->lists[ITEM_WAITING].first && pool->sleeping > 0)
        pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    return count;
}

void pool_finish(struct pool *pool, struct item *const *items, const bool *acknowledge,
                 size_t count)
{
    pthread_mutex_lock(&pool->lock);
    for (size_t i = 0; i < count; i++) {
        pool->finished += items[i]->state == ITEM_RUNNING;
        pool->hurries |= acknowledge[i] && item_is_fast(items[i]);
        if (acknowledge[i] && *items[i]->delivery.entry)
            set_state(pool, items[i], ITEM_DONE);
        else
            drop(pool, items[i]);
    }
    pool_wake_after_end(pool);
    pthread_mutex_unlock(&pool->lock);
}

/* ---- keeper ---- */

static size_t copy_entries(const struct item_list *list, struct queue_entry *entries, size_t max)
{
    size_t count = 0;

    for (const struct item *item = list->first; item && count < max; item = item->next) {
        if ((item->lost && item->state != ITEM_DONE) || !*item->delivery.entry)
            continue;
        entries[count].stream = item->delivery.stream;
        memcpy(entries[count].entry, item->delivery.entry, sizeof entries[count].entry);
        count++;
    }
    return count;
}

size_t pool_list_held(struct pool *pool, struct queue_entry *entries, size_t max)
{
    size_t count = 0;

    pthread_mutex_lock(&pool->lock);
    for (int state = ITEM_CLAIMING; state < ITEM_DONE; state++)
        count += copy_entries(&pool->lists[state], entries + count, max - count);
    pthread_mutex_unlock(&pool->lock);
    return count;
}

size_t pool_list_done(struct pool *pool, struct queue_entry *entries, size_t max)
{
    size_t count;

    pthread_mutex_lock(&pool->lock);
    count = copy_entries(&pool->lists[ITEM_DONE], entries, max);
    pthread_mutex_unlock(&pool->lock);
    return count;
}

void pool_forget_done(struct pool *pool, size_t count)
{
    pthread_mutex_lock(&pool->lock);
    /* Items become DONE at the end of the list, and only here they leave it. */
    while (count-- > 0 && pool->lists[ITEM_DONE].first)
        drop(pool, pool->lists[ITEM_DONE].first);
    pool_wake_after_end(pool);
    pthread_mutex_unlock(&pool->lock);
}

bool pool_find_overrun(struct pool *pool, int64_t now_us, struct uuid *ret_id, char *task,
                       size_t task_size)
{
    bool found = false;

    pthread_mutex_lock(&pool->lock);
    for (struct item *item = pool->lists[ITEM_RUNNING].first; item && !found; item = item->next) {
        if (!item_has_overrun(item, now_us))
            continue;
        found = true;
        *ret_id = item->delivery.id;
        (void)snprintf(task, task_size, "%s", item->task ? item->task->name : "");
    }
    pthread_mutex_unlock(&pool->lock);
    return found;
}

/* ---- the end ---- */

void pool_close(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->closed = true;
    pthread_cond_broadcast(&pool->work);
    pthread_cond_broadcast(&pool->room);
    pthread_mutex_unlock(&pool->lock);
}

void pool_visit(struct pool *pool, enum item_state state,
                bool (*fn)(struct item *item, void *context), void *context)
{
    struct item *next;

    pthread_mutex_lock(&pool->lock);
    for (struct item *item = pool->lists[state].first; item; item = next) {
        next = item->next;
        if (fn(item, context))
            drop(pool, item);
    }
    pthread_mutex_unlock(&pool->lock);
}

struct pool_count pool_counts(struct pool *pool)
{
    struct pool_count count;

    pthread_mutex_lock(&pool->lock);
    count = (struct pool_count){.claiming = pool_count_of(pool, ITEM_CLAIMING),
                                .waiting = pool_count_of(pool, ITEM_WAITING),
                                .running = pool_count_of(pool, ITEM_RUNNING),
                                .done = pool_count_of(pool, ITEM_DONE),
                                .finished = pool->finished};
    pthread_mutex_unlock(&pool->lock);
    return count;
}
