/* SPDX-License-Identifier: MIT
 *
 * What a slot takes of what waits: how many at once, in which order, and that nothing is left lying
 * while slots sleep.
 */
#include "worker/pool.h"

#include "tests/unit/pools.h"

Test(pool_take, unknown_and_long_tasks_go_one_by_one)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 100);
    struct item *items[8];

    add_ready(pool, 0, 3, &quick);
    cr_expect_eq(pool_take(pool, items, 8), 1, "not known yet");
    note(pool, &slow, US_PER_S, 1);
    note(pool, &quick, US_PER_S, 1);
    cr_expect_eq(pool_take(pool, items, 8), 1);
}

Test(pool_take, short_tasks_go_together_up_to_the_goal)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 100);
    struct item *items[64];

    note(pool, &quick, 500, 100);
    add_ready(pool, 0, 64, &quick);
    cr_expect_eq(pool_take(pool, items, 64), 10, "5 ms of 500 us");
    cr_expect_eq(pool_take(pool, items, 4), 4, "no more than asked for");
    expect_counts(pool, 0, 50, 14, 0);
}

Test(pool_take, a_batch_ends_before_a_long_task)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 100);
    struct item *items[64];

    note(pool, &quick, 10, 1);
    note(pool, &slow, US_PER_S, 1);
    add_ready(pool, 0, 3, &quick);
    add_ready(pool, 3, 1, &slow);
    add_ready(pool, 4, 2, &quick);
    cr_assert_eq(pool_take(pool, items, 64), 3);
    cr_assert_eq(pool_take(pool, items, 64), 1);
    cr_expect_eq(items[0]->task, &slow);
    cr_assert_eq(pool_take(pool, items, 64), 2);
    expect_counts(pool, 0, 0, 6, 0);
}

Test(pool_take, more_tasks_than_it_remembers_are_taken_for_long)
{
    struct task tasks[70] = {{0}};
    AUTO(pool_free) struct pool *pool = pool_new(1, 100);
    struct item *items[8];

    for (size_t i = 0; i < COUNT_OF(tasks); i++)
        note(pool, &tasks[i], 1, 1);
    add_ready(pool, 0, 2, &tasks[69]);
    cr_expect_eq(pool_take(pool, items, 8), 1);
}

static void *take_one(void *context)
{
    struct item *item = NULL;

    return pool_take(context, &item, SLOT_BATCH_MAX) == 1 ? item : NULL;
}

Test(pool_take, long_jobs_that_come_together_wake_a_slot_each)
{
    AUTO(pool_free) struct pool *pool = pool_new(3, 10);
    struct item *items[3];
    pthread_t slots[3];

    note(pool, &slow, US_PER_S, 1);
    for (size_t i = 0; i < COUNT_OF(slots); i++)
        cr_assert_eq(pthread_create(&slots[i], NULL, take_one, pool), 0);
    for (int i = 0; i < 3; i++)
        items[i] = add(pool, i, &slow);
    pool_make_ready(pool, items, 3, 0);
    for (size_t i = 0; i < COUNT_OF(slots); i++) {
        void *got = NULL;

        cr_assert_eq(pthread_join(slots[i], &got), 0);
        cr_expect_not_null(got);
    }
    expect_counts(pool, 0, 0, 3, 0);
}

/* A slot as it lives: takes what it gets until the pool is closed. */
static void *take_all(void *context)
{
    struct item *items[SLOT_BATCH_MAX];
    bool marks[SLOT_BATCH_MAX] = {false};
    size_t count;

    while ((count = pool_take(context, items, SLOT_BATCH_MAX)) > 0)
        pool_finish(context, items, marks, count);
    return NULL;
}

Test(pool_take, nothing_is_left_lying_while_slots_sleep)
{
    enum { COUNT = 2 * SLOT_BATCH_MAX + 1, ROUNDS = 500 };
    AUTO(pool_free) struct pool *pool = pool_new(3, 1000);
    struct item *items[COUNT];
    pthread_t slots[3];

    note(pool, &quick, 1, 200);
    for (size_t i = 0; i < COUNT_OF(slots); i++)
        cr_assert_eq(pthread_create(&slots[i], NULL, take_all, pool), 0);
    for (int round = 0; round < ROUNDS; round++) {
        size_t count = 1 + (size_t)round * 7 % COUNT;

        for (size_t i = 0; i < count; i++)
            items[i] = add(pool, (int)i, &quick);
        pool_make_ready(pool, items, count, 0);
        for (int64_t end_us = clock_mono_us() + LONG_US; pool_counts(pool).waiting > 0;)
            cr_assert_lt(clock_mono_us(), end_us, "round %d: some are left", round);
    }
    pool_close(pool);
    for (size_t i = 0; i < COUNT_OF(slots); i++)
        cr_assert_eq(pthread_join(slots[i], NULL), 0);
}

Test(pool_take, keeps_the_order)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 100);
    struct item *items[10];
    struct item *batch[3];

    batch[0] = add(pool, 0, &slow);
    batch[1] = add(pool, 1, &slow);
    batch[2] = add(pool, 2, &slow);
    pool_make_ready(pool, batch, 3, 0);
    add_ready(pool, 3, 7, &slow);
    take(pool, items, 10);
    for (int i = 0; i < 10; i++)
        cr_expect_eq(number_of(items[i]), i);
}

Test(pool_take, tells_when_it_was_started)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 1);
    struct item *item;

    clock_fix(INT64_C(1732212345678901), 0);
    add_ready(pool, 1, 1, &slow);
    take(pool, &item, 1);
    cr_expect_eq(item->started_wall_us, INT64_C(1732212345678901));
    cr_expect_eq(item->state, ITEM_RUNNING);
}
