/* SPDX-License-Identifier: MIT
 *
 * What a worker process holds: how much, and that no entry is acknowledged that was not settled,
 * nor forgotten that was not acknowledged. Which items a slot takes: test_pool_take.c.
 */
#include "worker/pool.h"

#include <unistd.h>

#include "tests/unit/pools.h"

/* ---- how much ---- */

Test(pool_room, nothing_known_holds_one_ready_a_slot)
{
    AUTO(pool_free) struct pool *pool = pool_new(4, 100);

    cr_expect_leq(pool_wait_room(pool, 0), 8);
    cr_expect_geq(pool_wait_room(pool, 0), 4);
}

Test(pool_room, short_jobs_are_held_up_to_the_prefetch)
{
    AUTO(pool_free) struct pool *pool = pool_new(4, 100);

    note(pool, &quick, 10, 200);
    cr_expect_eq(pool_wait_room(pool, 0), 104);
    add_ready(pool, 0, 104, &quick);
    cr_expect_eq(pool_wait_room(pool, 0), 0);
}

Test(pool_room, no_remainders_are_read_while_there_is_enough_to_do)
{
    AUTO(pool_free) struct pool *pool = pool_new(10, 256);

    note(pool, &quick, 10, 200);
    cr_expect_eq(pool_wait_room(pool, 0), 266);
    add_ready(pool, 0, 63, &quick);
    cr_expect_eq(pool_wait_room(pool, 0), 203, "too little to be choosy");
    add_ready(pool, 63, 75, &quick);
    cr_expect_eq(pool_wait_room(pool, 0), 128, "138 are held: two times 64");
    add_ready(pool, 138, 118, &quick);
    cr_expect_eq(pool_wait_room(pool, 0), 0, "ten more are not worth a claim");
}

Test(pool_room, one_long_job_ends_the_prefetch_at_once)
{
    AUTO(pool_free) struct pool *pool = pool_new(4, 100);

    note(pool, &quick, 10, 200);
    note(pool, &slow, 5 * US_PER_S, 1);
    cr_expect_eq(pool_wait_room(pool, 0), 4);
    note(pool, &quick, 10, 20);
    cr_expect_leq(pool_wait_room(pool, 0), 6, "and it comes back slowly");
    note(pool, &quick, 10, 200);
    cr_expect_eq(pool_wait_room(pool, 0), 104);
}

Test(pool_room, every_state_but_done_takes_room)
{
    AUTO(pool_free) struct pool *pool = pool_new(3, 0);
    struct item *items[2];

    cr_assert_eq(pool_wait_room(pool, 0), 3);
    (void)add(pool, 1, &slow);
    cr_expect_eq(pool_wait_room(pool, 0), 2);
    add_ready(pool, 2, 2, &slow);
    cr_expect_eq(pool_wait_room(pool, 0), 0);
    take(pool, items, 2);
    cr_expect_eq(pool_wait_room(pool, 0), 0);
    finish(pool, items[0], true);
    cr_expect_eq(pool_wait_room(pool, 0), 1);
    finish(pool, items[1], false);
    cr_expect_eq(pool_wait_room(pool, 0), 2);
    add_ready(pool, 10, 5, &slow);
    cr_expect_eq(pool_wait_room(pool, 0), 0, "more than there is room for is not less than none");
}

static void *forget_all(void *context)
{
    struct queue_entry entries[2000];

    pool_forget_done(context, pool_list_done(context, entries, COUNT_OF(entries)));
    return NULL;
}

Test(pool_room, what_waits_to_be_acknowledged_is_bounded)
{
    AUTO(pool_free) struct pool *pool = pool_new(4, 100);
    int64_t began_us = clock_mono_us();
    pthread_t keeper;
    int held = 0;

    note(pool, &quick, 10, 200);
    while (pool_wait_room(pool, 0) > 0 && held < 2000)
        finish(pool, add(pool, held++, &quick), true);
    cr_expect_geq(held, 256, "enough for one command");
    cr_expect_lt(held, 2000);
    cr_assert_eq(pthread_create(&keeper, NULL, forget_all, pool), 0);
    cr_expect_gt(pool_wait_room(pool, LONG_US), 0);
    cr_expect_lt(clock_mono_us() - began_us, LONG_US / 2, "who waits for room is woken");
    cr_assert_eq(pthread_join(keeper, NULL), 0);
}

Test(pool_room, counting_no_job_changes_nothing)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 100);
    int before = pool_wait_room(pool, 0);

    pool_note_runtime(pool, &slow, 10 * US_PER_S, 0);
    cr_expect_eq(pool_wait_room(pool, 0), before);
}

/* ---- the end of an item ---- */

Test(pool_done, listed_in_the_order_of_their_end)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);
    struct item *items[3];
    struct queue_entry entries[8];

    add_ready(pool, 0, 3, &slow);
    take(pool, items, 3);
    finish(pool, items[2], true);
    finish(pool, items[0], true);
    finish(pool, items[1], false);
    cr_assert_eq(pool_list_done(pool, entries, 8), 2, "what is given up is not acknowledged");
    cr_expect_str_eq(entries[0].entry, "2-0");
    cr_expect_eq(entries[0].stream, 2);
    cr_expect_str_eq(entries[1].entry, "0-0");
    cr_assert_eq(pool_list_done(pool, entries, 1), 1);
    cr_expect_str_eq(entries[0].entry, "2-0");
    expect_counts(pool, 0, 0, 0, 2);
}

Test(pool_done, what_ends_between_listing_and_forgetting_stays)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);
    struct item *items[4];
    struct queue_entry entries[8];
    size_t count;

    add_ready(pool, 0, 4, &slow);
    take(pool, items, 4);
    finish(pool, items[3], true);
    finish(pool, items[1], true);
    count = pool_list_done(pool, entries, 8);
    finish(pool, items[0], true);
    pool_forget_done(pool, count);
    cr_assert_eq(pool_list_done(pool, entries, 8), 1);
    cr_expect_str_eq(entries[0].entry, "0-0");
    pool_forget_done(pool, 99);
    expect_counts(pool, 0, 0, 1, 0);
}

Test(pool_done, an_item_may_end_without_having_run)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);
    struct queue_entry entries[4];

    finish(pool, add(pool, 5, NULL), true);
    finish(pool, add(pool, 6, NULL), false);
    cr_assert_eq(pool_list_done(pool, entries, 4), 1);
    cr_expect_str_eq(entries[0].entry, "5-0");
}

Test(pool_done, the_keeper_is_woken)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);
    int64_t began_us = clock_mono_us();

    finish(pool, add(pool, 5, NULL), true);
    pool_wait_done(pool, LONG_US, 0);
    pool_forget_done(pool, 1);
    pool_poke(pool);
    pool_wait_done(pool, LONG_US, 0);
    cr_expect_lt(clock_mono_us() - began_us, LONG_US / 2);
    pool_wait_done(pool, US_PER_MS, 0);
    pool_wait_done(pool, -US_PER_S, 0);
}

/* ---- what is held ---- */

Test(pool_held, lists_what_is_not_done)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);
    struct item *items[2];
    struct queue_entry entries[8];

    add_ready(pool, 0, 3, &slow);
    (void)add(pool, 3, NULL);
    take(pool, items, 2);
    finish(pool, items[0], true);
    cr_assert_eq(pool_list_held(pool, entries, 8), 3);
    cr_expect_str_eq(entries[0].entry, "3-0");
    cr_expect_str_eq(entries[1].entry, "2-0");
    cr_expect_str_eq(entries[2].entry, "1-0");
    cr_expect_eq(pool_list_held(pool, entries, 2), 2);
    cr_expect_eq(pool_list_held(pool, entries, 0), 0);
}

static bool mark_lost(struct item *item, void *unused)
{
    (void)unused;
    item->lost = true;
    return false;
}

Test(pool_held, lost_items_are_not_renewed_but_acknowledged_when_they_are_settled)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);
    struct queue_entry entries[8];
    struct item *item;

    add_ready(pool, 0, 2, &slow);
    take(pool, &item, 1);
    (void)add(pool, 2, NULL);
    for (int state = 0; state < ITEM_STATE_COUNT; state++)
        pool_visit(pool, (enum item_state)state, mark_lost, NULL);
    cr_expect_eq(pool_list_held(pool, entries, 8), 0);
    (void)add(pool, 3, NULL);
    cr_assert_eq(pool_list_held(pool, entries, 8), 1, "what came later is ours");
    cr_expect_str_eq(entries[0].entry, "3-0");
    finish(pool, item, true);
    cr_assert_eq(pool_list_done(pool, entries, 8), 1);
    cr_expect_str_eq(entries[0].entry, "0-0");
}

Test(pool_held, knows_entries_by_stream_and_id_in_every_state)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);
    struct item *items[2];

    add_ready(pool, 0, 3, &slow);
    (void)add(pool, 3, NULL);
    take(pool, items, 2);
    finish(pool, items[0], true);
    for (int i = 0; i < 4; i++) {
        char entry[QUEUE_ENTRY_SIZE];

        (void)snprintf(entry, sizeof entry, "%d-0", i);
        cr_expect(pool_holds(pool, (size_t)i % 3, entry), "%s", entry);
        cr_expect_not(pool_holds(pool, (size_t)(i + 1) % 3, entry), "%s", entry);
    }
    cr_expect_not(pool_holds(pool, 1, "4-0"));
    cr_expect_not(pool_holds(pool, 1, "1-"));
    pool_forget_done(pool, 1);
    cr_expect_not(pool_holds(pool, 0, "0-0"));
}

/* ---- hard limits ---- */

Test(pool_overrun, names_the_running_one_past_its_limit)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);
    struct item *items[3];
    struct uuid id = {.text = "none"};
    char task[8] = "none";

    add_ready(pool, 0, 3, &slow);
    take(pool, items, 3);
    cr_expect_not(pool_find_overrun(pool, INT64_MAX, &id, task, sizeof task), "no limit is set");
    atomic_store(&items[1]->killed_at_us, 1000);
    atomic_store(&items[2]->killed_at_us, 2000);
    cr_expect_not(pool_find_overrun(pool, 999, &id, task, sizeof task));
    cr_expect_str_eq(id.text, "none");
    cr_expect(pool_find_overrun(pool, 1000, &id, task, sizeof task));
    cr_expect_str_eq(id.text, "1");
    cr_expect_str_eq(task, "slow");
    finish(pool, items[1], true);
    cr_expect_not(pool_find_overrun(pool, 1999, &id, task, sizeof task), "what is done has none");
    items[2]->task = NULL;
    cr_expect(pool_find_overrun(pool, 2001, &id, task, 3));
    cr_expect_str_eq(task, "");
}

/* ---- the end ---- */

Test(pool_end, closed_gives_nothing_more_to_run)
{
    AUTO(pool_free) struct pool *pool = pool_new(2, 10);
    struct item *items[4];

    add_ready(pool, 0, 3, &slow);
    take(pool, items, 1);
    pool_close(pool);
    cr_expect_eq(pool_take(pool, items + 1, 3), 0);
    expect_counts(pool, 0, 2, 1, 0);
    finish(pool, items[0], true);
    expect_counts(pool, 0, 2, 0, 1);
}

static void *wait_for_work(void *context)
{
    struct item *items[4];

    return pool_take(context, items, 4) == 0 ? context : NULL;
}

Test(pool_end, closing_wakes_whoever_waits)
{
    AUTO(pool_free) struct pool *pool = pool_new(3, 10);
    pthread_t threads[3];
    int64_t began_us = clock_mono_us();

    for (size_t i = 0; i < COUNT_OF(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, wait_for_work, pool), 0);
    pool_close(pool);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *result = NULL;

        cr_assert_eq(pthread_join(threads[i], &result), 0);
        cr_expect_eq(result, pool);
    }
    add_ready(pool, 0, 14, &slow);
    cr_expect_eq(pool_wait_room(pool, LONG_US), 0, "nobody waits for room in a closed pool");
    cr_expect_lt(clock_mono_us() - began_us, LONG_US / 2);
}

Test(pool_end, idle_is_when_nothing_runs)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);
    struct item *item;

    cr_expect(pool_wait_idle(pool, 0));
    add_ready(pool, 0, 2, &slow);
    cr_expect(pool_wait_idle(pool, 0), "what waits does not run");
    take(pool, &item, 1);
    cr_expect_not(pool_wait_idle(pool, US_PER_MS));
    finish(pool, item, true);
    cr_expect(pool_wait_idle(pool, 0));
}

static bool drop_even(struct item *item, void *context)
{
    int *visited = context;

    (*visited)++;
    return number_of(item) % 2 == 0;
}

Test(pool_end, a_visit_may_remove_items)
{
    AUTO(pool_free) struct pool *pool = pool_new(1, 10);
    struct item *items[2];
    int visited = 0;

    add_ready(pool, 0, 5, &slow);
    pool_visit(pool, ITEM_RUNNING, drop_even, &visited);
    cr_expect_eq(visited, 0);
    pool_visit(pool, ITEM_WAITING, drop_even, &visited);
    cr_expect_eq(visited, 5);
    expect_counts(pool, 0, 2, 0, 0);
    take(pool, items, 2);
    cr_expect_eq(number_of(items[0]), 1);
    cr_expect_eq(number_of(items[1]), 3);
}

/* ---- all at once ---- */

enum { STRESS_ITEMS = 50000, STRESS_SLOTS = 4, STRESS_BATCH = 32 };

struct stress {
    struct pool *pool;
    atomic_int runs[STRESS_ITEMS];         /* by number */
    atomic_int acknowledged[STRESS_ITEMS]; /* by number */
    atomic_int finished;
    atomic_int forgotten;
    atomic_bool failed;
};

static void *stress_slot(void *context)
{
    struct stress *stress = context;
    struct item *items[STRESS_BATCH];
    bool acknowledge[STRESS_BATCH];
    size_t count;

    while ((count = pool_take(stress->pool, items, STRESS_BATCH)) > 0) {
        for (size_t i = 0; i < count; i++) {
            int number = number_of(items[i]);

            atomic_fetch_add(&stress->runs[number], 1);
            /* One in seven loses its fence and leaves its entry to others. */
            acknowledge[i] = number % 7 != 0;
        }
        pool_note_runtime(stress->pool, items[0]->task, 20, (int)count);
        pool_finish(stress->pool, items, acknowledge, count);
        atomic_fetch_add(&stress->finished, (int)count);
    }
    return NULL;
}

static void *stress_keeper(void *context)
{
    struct stress *stress = context;
    struct queue_entry entries[256];
    bool last = false;

    for (;;) {
        size_t count = pool_list_done(stress->pool, entries, COUNT_OF(entries));
        struct uuid id;
        char task[16];

        for (size_t i = 0; i < count; i++) {
            struct item key = {.next = NULL};

            memcpy(key.delivery.entry, entries[i].entry, sizeof entries[i].entry);
            atomic_fetch_add(&stress->acknowledged[number_of(&key)], 1);
        }
        pool_forget_done(stress->pool, count);
        atomic_fetch_add(&stress->forgotten, (int)count);
        if (pool_list_held(stress->pool, entries, COUNT_OF(entries)) > COUNT_OF(entries) ||
            pool_find_overrun(stress->pool, clock_mono_us(), &id, task, sizeof task))
            atomic_store(&stress->failed, true);
        if (count == 0 && last)
            return NULL;
        last = count == 0 && atomic_load(&stress->finished) == STRESS_ITEMS;
        if (count == 0)
            pool_wait_done(stress->pool, 10 * US_PER_MS, 0);
    }
}

static void stress_fetch(struct stress *stress)
{
    for (int next = 0; next < STRESS_ITEMS;) {
        int room = pool_wait_room(stress->pool, US_PER_S);
        struct item *items[64];
        size_t count = 0;

        while (next < STRESS_ITEMS && count < COUNT_OF(items) && (int)count < room)
            items[count++] = add(stress->pool, next++, &quick);
        pool_make_ready(stress->pool, items, count, 0);
    }
}

Test(pool_stress, each_item_runs_once_and_is_forgotten_once)
{
    AUTO(mem_free) struct stress *stress = mem_alloc(sizeof *stress);
    pthread_t slots[STRESS_SLOTS];
    pthread_t keeper;

    (void)alarm(120); /* ends a test that hangs */
    stress->pool = pool_new(STRESS_SLOTS, 128);
    cr_assert_eq(pthread_create(&keeper, NULL, stress_keeper, stress), 0);
    for (size_t i = 0; i < STRESS_SLOTS; i++)
        cr_assert_eq(pthread_create(&slots[i], NULL, stress_slot, stress), 0);
    stress_fetch(stress);
    cr_assert_eq(pthread_join(keeper, NULL), 0);
    cr_expect(pool_wait_idle(stress->pool, 0));
    pool_close(stress->pool);
    for (size_t i = 0; i < STRESS_SLOTS; i++)
        cr_assert_eq(pthread_join(slots[i], NULL), 0);
    for (int i = 0; i < STRESS_ITEMS; i++) {
        cr_assert_eq(atomic_load(&stress->runs[i]), 1, "item %d", i);
        cr_assert_eq(atomic_load(&stress->acknowledged[i]), i % 7 != 0, "item %d", i);
    }
    cr_expect_eq(atomic_load(&stress->forgotten), STRESS_ITEMS - (STRESS_ITEMS + 6) / 7);
    cr_expect_not(atomic_load(&stress->failed));
    expect_counts(stress->pool, 0, 0, 0, 0);
    pool_free(stress->pool);
}

Test(pool, what_has_no_entry_is_neither_renewed_nor_acknowledged)
{
    AUTO(pool_free) struct pool *pool = pool_new(2, 0);
    struct queue_entry entries[4];
    struct item *items[2] = {add(pool, 1, &slow), add(pool, 2, &slow)};

    items[0]->delivery.entry[0] = '\0';
    cr_expect_eq(pool_list_held(pool, entries, COUNT_OF(entries)), 1);
    cr_expect_str_eq(entries[0].entry, "2-0");
    pool_make_ready(pool, items, 2, 1);
    take(pool, items, 2);
    finish(pool, items[0], true);
    expect_counts(pool, 0, 0, 1, 0);
    finish(pool, items[1], true);
    expect_counts(pool, 0, 0, 0, 1);
}
