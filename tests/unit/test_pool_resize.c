/* SPDX-License-Identifier: MIT
 *
 * A pool that grows and shrinks while it works: slots come and go, items do not.
 */
#include "worker/pool.h"

#include <pthread.h>
#include <stdio.h>

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/text.h"
#include "worker/task.h"

AUTO_DEFINE(struct pool *, pool_free);

enum { ITEMS = 3000, SLOTS_MAX = 16 };

static const struct task quick = {.name = "quick"};

static struct item *add(struct pool *pool, int number)
{
    struct queue_delivery delivery = {.kind = DELIVERY_DURABLE};
    struct item *item;

    (void)snprintf(delivery.entry, sizeof delivery.entry, "%d", number);
    item = pool_add(pool, &delivery);
    item->task = &quick;
    return item;
}

Test(pool_resize, tells_how_many_threads_are_missing)
{
    AUTO(pool_free) struct pool *pool = pool_new(4, 0);

    cr_expect_eq(pool_resize(pool, 4), 4);
    cr_expect_eq(pool_resize(pool, 6), 2);
    cr_expect_eq(pool_resize(pool, 3), 0);
    cr_expect_eq(pool_slots(pool), 3);
    cr_expect_eq(pool_resize(pool, 7), 1, "six are there still");
    pool_detach(pool, 1); /* it could not be started */
    cr_expect_eq(pool_resize(pool, 7), 1);
}

Test(pool_resize, the_room_follows)
{
    AUTO(pool_free) struct pool *pool = pool_new(2, 0);

    (void)pool_resize(pool, 2);
    cr_expect_eq(pool_wait_room(pool, 0), 2);
    (void)add(pool, 1);
    (void)pool_resize(pool, 5);
    cr_expect_eq(pool_wait_room(pool, 0), 4);
    (void)pool_resize(pool, 1);
    cr_expect_eq(pool_wait_room(pool, 0), 0);
}

Test(pool_resize, those_that_are_too_many_go_home_and_what_waits_stays)
{
    AUTO(pool_free) struct pool *pool = pool_new(2, 0);
    struct item *item = add(pool, 1);

    (void)pool_resize(pool, 2);
    pool_make_ready(pool, &item, 1, 0);
    (void)pool_resize(pool, 1);
    cr_expect_eq(pool_take(pool, &item, 1), 0, "one goes");
    cr_expect_eq(pool_counts(pool).waiting, 1);
    cr_expect_eq(pool_take(pool, &item, 1), 1, "the other works");
}

static void *idle(void *pool)
{
    struct item *items[1];

    (void)pool_take(pool, items, 1);
    return NULL;
}

Test(pool_resize, idle_slots_are_sent_home_at_once, .timeout = 20)
{
    AUTO(pool_free) struct pool *pool = pool_new(3, 0);
    pthread_t threads[3];

    (void)pool_resize(pool, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, idle, pool), 0);
    (void)pool_resize(pool, 1);
    pool_close(pool);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(pool_resize(pool, 1), 1, "none is left");
}

/* ---- under load ---- */

static atomic_int ran[ITEMS];

static void *work(void *context)
{
    struct pool *pool = context;
    struct item *items[4];
    bool acknowledge[4] = {true, true, true, true};
    size_t count;

    while ((count = pool_take(pool, items, 4)) > 0) {
        for (size_t i = 0; i < count; i++) {
            int64_t number = 0;

            (void)text_to_int(items[i]->delivery.entry, 0, ITEMS - 1, &number);
            atomic_fetch_add(&ran[number], 1);
        }
        pool_finish(pool, items, acknowledge, count);
    }
    return NULL;
}

struct crowd {
    struct pool *pool;
    pthread_t threads[ITEMS];
    int count;
};

static void fit(struct crowd *crowd, int slots)
{
    for (int missing = pool_resize(crowd->pool, slots); missing > 0; missing--)
        cr_assert_eq(pthread_create(&crowd->threads[crowd->count++], NULL, work, crowd->pool), 0);
}

/* As the keeper does; how many were done. */
static int acknowledge(struct pool *pool)
{
    struct queue_entry entries[64];
    int total = 0;
    size_t count;

    while ((count = pool_list_done(pool, entries, 64)) > 0) {
        pool_forget_done(pool, count);
        total += (int)count;
    }
    return total;
}

Test(pool_resize, sizes_that_change_all_the_time_lose_no_item_and_run_none_twice, .timeout = 60)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 64);
    static struct crowd crowd;
    int done = 0;

    crowd = (struct crowd){.pool = pool};
    fit(&crowd, 1);
    for (int i = 0; i < ITEMS; i++) {
        struct item *item;

        while (pool_wait_room(pool, US_PER_MS) == 0)
            done += acknowledge(pool);
        item = add(pool, i);
        pool_make_ready(pool, &item, 1, 0);
        if (i % 10 == 0)
            fit(&crowd, 1 + i * 7 % SLOTS_MAX);
    }
    fit(&crowd, 2);
    while (pool_counts(pool).waiting > 0 || !pool_wait_idle(pool, US_PER_S))
        ;
    cr_expect_eq(done + acknowledge(pool), ITEMS);
    cr_expect_eq(pool_counts(pool).finished, ITEMS);
    pool_close(pool);
    for (int i = 0; i < crowd.count; i++)
        pthread_join(crowd.threads[i], NULL);
    for (int i = 0; i < ITEMS; i++)
        cr_assert_eq(atomic_load(&ran[i]), 1, "item %d ran %d times", i, atomic_load(&ran[i]));
}
