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

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/job.h"
#include "common/jobs_run.h"
#include "common/queue.h"
#include "common/trace.h"

struct task;

enum item_state {
    ITEM_CLAIMING, /* read; whether it is ours to run is not known yet */
    ITEM_WAITING,  /* claimed, waits for a slot */
    ITEM_RUNNING,
    ITEM_DONE, /* settled; to be acknowledged */
};

enum {
    ITEM_STATE_COUNT = ITEM_DONE + 1,
    SLOT_BATCH_MAX = 128, /* items that a slot takes at once: a quarter of what is held at most */
};

struct item {
    struct item *next; /* in the list of its state */
    struct item *prev;
    struct queue_delivery delivery; /* its entry is "" where it came by a place (passing.h) */
    struct job job;                 /* filled for durable jobs by the claim */
    const struct task *task;        /* NULL: not known in this build, or no job at all */
    enum item_state state;
    atomic_bool lost;        /* our lease ran out: another may have it; no longer renewed */
    int64_t started_wall_us; /* RUNNING */
    atomic_int_fast64_t killed_at_us; /* RUNNING: monotonic time of its hard limit; 0: none */
    atomic_int_fast64_t *limit_cell;  /* the same for the supervisor to see; NULL: nobody looks */
    int64_t hard_us;                  /* RUNNING: what its hard limit is */
    atomic_int_fast64_t begun_us;     /* RUNNING: monotonic; 0: others of its batch come first */
    atomic_int slot;                  /* whose it is, once it has begun */
    atomic_bool revoked;              /* the job was cancelled: nothing of it can be committed */
    atomic_int_fast64_t ended_at_us;  /* revoked and to be cut off: monotonic; 0: no */
    char *headers_line;               /* what log lines tell of its headers, from its run on: JSON;
                                         NULL: nothing. Owned */
};

static inline bool item_is_fast(const struct item *item)
{
    return item->delivery.kind == DELIVERY_FAST;
}

/* Of a durable one. */
static inline struct attempt item_attempt(const struct item *item)
{
    return (struct attempt){.id = item->job.id, .number = item->job.attempt};
}

/* The id of the trace that the job belongs to, in `ret_trace`; NULL without one. */
const char *item_trace_id(const struct item *item, struct trace *ret_trace);

static inline bool item_has_overrun(const struct item *item, int64_t now_us)
{
    int64_t limit_us = atomic_load(&item->killed_at_us);

    return limit_us && limit_us <= now_us;
}

/* Its hard limit begins (or, with 0, ends) to count. */
static inline void item_set_limit(struct item *item, int64_t at_us)
{
    atomic_store_explicit(&item->killed_at_us, at_us, memory_order_relaxed);
    if (item->limit_cell)
        atomic_store_explicit(item->limit_cell, at_us, memory_order_relaxed);
}

struct pool;

/* `prefetch_max`: how many items beyond the slots there is room for, while jobs are short; the
 * longer they run, the fewer are held ready, so that none waits here while another process is idle.
 */
struct pool *pool_new(int slots, int prefetch_max);
void pool_free(struct pool *pool);

/* Another number of slots. Gives how many threads are missing to that, which count as there from
 * now on; of too many, those that are idle or next to be leave pool_take() with 0. */
int pool_resize(struct pool *pool, int slots);
int pool_slots(struct pool *pool);
/* So many of them could not be started. */
void pool_detach(struct pool *pool, int count);

/* Waits until there is room or the time is over; gives the room (0 or more). */
int pool_wait_room(struct pool *pool, int64_t timeout_us);

/* How many more jobs can run at once; while jobs are tiny, how many more there is room for. For
 * queues with a concurrency: what waits here counts as running everywhere. */
int pool_slots_free(struct pool *pool);
/* Waits until a slot may be free, the pool is poked or closed, or the time is over. */
void pool_wait_slot(struct pool *pool, int64_t timeout_us);

/* Takes the delivery over (`delivery` is emptied). The item belongs to the pool. */
struct item *pool_add(struct pool *pool, struct queue_delivery *take_delivery);
bool pool_holds(struct pool *pool, size_t stream, const char *entry);
/* A job that came under the id of another one has its own from now on. */
void pool_rename(struct pool *pool, struct item *item, const struct uuid *id);
/* Wakes as many slots as they are enough for; `takers` of these are awake and about to ask. */
void pool_make_ready(struct pool *pool, struct item **items, size_t count, int takers);

/* Waits for items to run, marks up to `max` of them RUNNING; how many. 0: go home, the pool is
 * closed or has more slots than it should.
 * More than one are given only of tasks that have been short. */
size_t pool_take(struct pool *pool, struct item **items, size_t max);
/* How long `count` jobs of a task took together, for pool_take() and the room. */
void pool_note_runtime(struct pool *pool, const struct task *task, int64_t runtime_us, int count);

/* The items are settled (to be acknowledged), or given up without an acknowledgement and freed, as
 * are those that have no stream entry. */
void pool_finish(struct pool *pool, struct item *const *items, const bool *acknowledge,
                 size_t count);

/* Copies of what is held; at most `max`; how many. The DONE ones are the oldest. */
size_t pool_list_held(struct pool *pool, struct queue_entry *entries, size_t max);
size_t pool_list_done(struct pool *pool, struct queue_entry *entries, size_t max);
/* The `count` oldest DONE items are acknowledged: forget them. For the keeper alone. */
void pool_forget_done(struct pool *pool, size_t count);
/* Waits until an item is DONE, the pool is poked, or the time is over. While others run or wait for
 * a slot it waits for up to `gather_us` more, so that many are acknowledged at once; not for fast
 * jobs, which a crash before it would run again. */
void pool_wait_done(struct pool *pool, int64_t timeout_us, int64_t gather_us);
void pool_poke(struct pool *pool);

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
    int64_t finished; /* that have run, since the beginning */
};

struct pool_count pool_counts(struct pool *pool);

#endif
