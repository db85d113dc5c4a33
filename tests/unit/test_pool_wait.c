/* SPDX-License-Identifier: MIT
 *
 * Waiting for a pool: who is woken by the end of an item, and what may wait for more to be
 * acknowledged with it.
 */
#include "worker/pool.h"

#include <sched.h>

#include "tests/unit/pools.h"

enum { SHORT_US = 20 * 1000, GATHER_MAX = 64, ROUNDS = 100 };

static struct item *add_durable(struct pool *pool, int number)
{
    struct item *item = add(pool, number, &quick);

    item->delivery.kind = DELIVERY_DURABLE;
    return item;
}

/* How long the keeper waits, at most `gather_us` for more. */
static int64_t wait_us(struct pool *pool, int64_t gather_us)
{
    int64_t began_us = clock_mono_us();

    pool_wait_done(pool, LONG_US, gather_us);
    return clock_mono_us() - began_us;
}

struct end {
    struct pool *pool;
    struct item *item;
};

static void *end_one(void *context)
{
    const struct end *end = context;

    finish(end->pool, end->item, true);
    return NULL;
}

static void *poke(void *context)
{
    pool_poke(context);
    return NULL;
}

Test(pool_wait, what_is_done_waits_for_what_is_still_to_do)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);

    add_ready(pool, 1, 1, &quick);
    finish(pool, add_durable(pool, 2), true);
    cr_expect_geq(wait_us(pool, SHORT_US), SHORT_US);
    cr_expect_lt(wait_us(pool, 0), LONG_US / 2, "nobody asked for more");
}

Test(pool_wait, the_last_one_does_not_wait)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);

    finish(pool, add_durable(pool, 1), true);
    cr_expect_lt(wait_us(pool, LONG_US), LONG_US / 2);
}

Test(pool_wait, a_fast_job_does_not_wait)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);

    add_ready(pool, 1, 1, &quick);
    finish(pool, add(pool, 2, &quick), true);
    cr_expect_lt(wait_us(pool, LONG_US), LONG_US / 2);
    pool_forget_done(pool, 1);
    finish(pool, add_durable(pool, 3), true);
    cr_expect_geq(wait_us(pool, SHORT_US), SHORT_US, "the hurry is over");
}

Test(pool_wait, enough_does_not_wait)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);

    add_ready(pool, 1, 1, &quick);
    for (int i = 0; i < GATHER_MAX; i++)
        finish(pool, add_durable(pool, 2 + i), true);
    cr_expect_lt(wait_us(pool, LONG_US), LONG_US / 2);
}

Test(pool_wait, the_end_of_all_that_runs_ends_the_gathering)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);
    struct end end = {.pool = pool, .item = add_durable(pool, 1)};
    pthread_t thread;

    pool_make_ready(pool, &end.item, 1, 0);
    take(pool, &end.item, 1);
    finish(pool, add_durable(pool, 2), true);
    (void)pthread_create(&thread, NULL, end_one, &end);
    cr_expect_lt(wait_us(pool, LONG_US), LONG_US / 2);
    (void)pthread_join(thread, NULL);
    cr_expect_eq(pool_counts(pool).done, 2);
}

Test(pool_wait, a_poke_ends_the_gathering)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);
    pthread_t thread;

    add_ready(pool, 1, 1, &quick);
    finish(pool, add_durable(pool, 2), true);
    (void)pthread_create(&thread, NULL, poke, pool);
    cr_expect_lt(wait_us(pool, LONG_US), LONG_US / 2);
    (void)pthread_join(thread, NULL);
}

static void *wait_for_idleness(void *context)
{
    return pool_wait_idle(context, LONG_US) ? context : NULL;
}

static void *wait_for_a_slot(void *context)
{
    pool_wait_slot(context, LONG_US);
    return pool_slots_free(context) > 0 ? context : NULL;
}

static void *wait_for_room(void *context)
{
    return pool_wait_room(context, LONG_US) > 0 ? context : NULL;
}

/* One item runs in a pool that holds no other; whoever waits for its end is woken by it, whichever
 * of the two comes first. */
static void expect_woken(void *(*waiter)(void *))
{
    int64_t began_us = clock_mono_us();

    for (int i = 0; i < ROUNDS; i++) {
        AUTO(pool_free) struct pool *pool = pool_new(1, 0);
        struct item *item = add_durable(pool, 1);
        void *woken = NULL;
        pthread_t thread;

        pool_make_ready(pool, &item, 1, 0);
        take(pool, &item, 1);
        (void)pthread_create(&thread, NULL, waiter, pool);
        for (int spin = 0; spin < i % 10; spin++)
            (void)sched_yield();
        finish(pool, item, true);
        (void)pthread_join(thread, &woken);
        cr_expect_eq(woken, pool);
    }
    cr_expect_lt(clock_mono_us() - began_us, LONG_US / 2);
}

Test(pool_wait, the_last_end_wakes_who_waits_for_idleness) { expect_woken(wait_for_idleness); }

Test(pool_wait, an_end_wakes_who_waits_for_a_slot) { expect_woken(wait_for_a_slot); }

Test(pool_wait, an_end_wakes_who_waits_for_room) { expect_woken(wait_for_room); }

/* ---- how much is read ---- */

/* Of a pool that is full of jobs which take so long each: how many end before it reads again. */
static int ends_before_reading(struct pool *pool, int64_t each_us)
{
    int capacity;

    note(pool, &quick, each_us, 200);
    capacity = pool_wait_room(pool, 0);
    add_ready(pool, 1, capacity, &quick);
    for (int ended = 1; ended <= capacity; ended++) {
        struct item *item;

        take(pool, &item, 1);
        finish(pool, item, false);
        if (pool_wait_room(pool, 0) > 0) {
            cr_expect_eq(pool_wait_room(pool, 0), ended, "all that is missing is read at once");
            return ended;
        }
    }
    return -1;
}

Test(pool_wait, jobs_of_some_milliseconds_are_read_many_at_once)
{
    AUTO(pool_free) struct pool *pool = pool_new(8, 512);

    cr_expect_geq(ends_before_reading(pool, 8 * 1000), 20, "a claim for each of them");
}

Test(pool_wait, what_is_read_is_still_enough_for_a_while)
{
    AUTO(pool_free) struct pool *pool = pool_new(8, 512);

    (void)ends_before_reading(pool, 8 * 1000);
    cr_expect_geq(pool_counts(pool).waiting, 16, "the slots would wait for the claim");
}

Test(pool_wait, long_jobs_are_read_one_by_one)
{
    AUTO(pool_free) struct pool *pool = pool_new(8, 512);

    cr_expect_eq(ends_before_reading(pool, 60 * 1000), 1);
}
