/* SPDX-License-Identifier: MIT
 *
 * Items for the tests of a worker's pool: numbered, of a task that is quick or one that is slow.
 */
#ifndef TESTS_UNIT_POOLS_H
#define TESTS_UNIT_POOLS_H

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/mem.h"
#include "worker/pool.h"
#include "worker/task.h"

enum { LONG_US = 30 * 1000 * 1000 };

static const struct task quick = {.name = "quick"};
static const struct task slow = {.name = "slow"};

AUTO_DEFINE(struct pool *, pool_free);

static inline struct item *add(struct pool *pool, int number, const struct task *task)
{
    struct queue_delivery delivery = {.stream = (size_t)number % 3, .kind = DELIVERY_FAST};
    struct item *item;

    (void)snprintf(delivery.entry, sizeof delivery.entry, "%d-0", number);
    (void)snprintf(delivery.id.text, sizeof delivery.id.text, "%d", number);
    delivery.task = mem_dup(task ? task->name : "unknown");
    item = pool_add(pool, &delivery);
    cr_assert_null(delivery.task, "taken over");
    item->task = task;
    return item;
}

static inline void add_ready(struct pool *pool, int first, int count, const struct task *task)
{
    for (int i = 0; i < count; i++) {
        struct item *item = add(pool, first + i, task);

        pool_make_ready(pool, &item, 1, 0);
    }
}

static inline int number_of(const struct item *item)
{
    int number = 0;

    for (const char *p = item->delivery.entry; *p != '-'; p++)
        number = number * 10 + (*p - '0');
    return number;
}

/* Takes `count` items one by one into `items`, which all of them must be long for. */
static inline void take(struct pool *pool, struct item **items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(pool_take(pool, &items[i], 1), 1);
}

static inline void finish(struct pool *pool, struct item *item, bool acknowledge)
{
    pool_finish(pool, &item, &acknowledge, 1);
}

static inline void note(struct pool *pool, const struct task *task, int64_t each_us, int times)
{
    for (int i = 0; i < times; i++)
        pool_note_runtime(pool, task, each_us, 1);
}

static inline void expect_counts(struct pool *pool, int claiming, int waiting, int running,
                                 int done)
{
    struct pool_count count = pool_counts(pool);

    cr_expect_eq(count.claiming, claiming, "claiming: %d, not %d", count.claiming, claiming);
    cr_expect_eq(count.waiting, waiting, "waiting: %d, not %d", count.waiting, waiting);
    cr_expect_eq(count.running, running, "running: %d, not %d", count.running, running);
    cr_expect_eq(count.done, done, "done: %d, not %d", count.done, done);
}

#endif
