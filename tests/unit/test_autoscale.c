/* SPDX-License-Identifier: MIT
 *
 * How many slots a process wants: it grows by what waits, shrinks by what it used, and settles.
 */
#include "worker/autoscale.h"

#include <criterion/criterion.h>

#define SECOND INT64_C(1000000)

/* A pool under a load that wants `demand` slots, seen once a second. */
struct run {
    struct autoscale autoscale;
    int64_t now_us;
    int slots;
    int changes;
};

static const struct autoscale_view BOUNDS = {.min = 2, .max = 20, .keep_us = 30 * SECOND};

static void look(struct run *run, int demand)
{
    struct autoscale_view view = BOUNDS;
    int wanted;

    run->now_us += SECOND;
    view.now_us = run->now_us;
    view.slots = run->slots;
    view.busy = demand < run->slots ? demand : run->slots;
    view.oldest_age_us = demand > run->slots ? 3 * SECOND : 0;
    wanted = autoscale_decide(&run->autoscale, &view);
    run->changes += wanted != run->slots;
    run->slots = wanted;
}

static struct run begin(int slots) { return (struct run){.now_us = 1000 * SECOND, .slots = slots}; }

static void look_for(struct run *run, int seconds, int demand)
{
    for (int i = 0; i < seconds; i++)
        look(run, demand);
}

Test(autoscale, grows_to_what_is_wanted_within_seconds)
{
    struct run run = begin(2);

    look_for(&run, 12, 15);
    cr_expect_geq(run.slots, 15);
    cr_expect_leq(run.slots, 20);
}

Test(autoscale, stays_within_the_bounds)
{
    struct run run = begin(50);

    look(&run, 50);
    cr_expect_eq(run.slots, 20, "an order comes at once");
    look_for(&run, 60, 1000);
    cr_expect_eq(run.slots, 20);
    look_for(&run, 300, 0);
    cr_expect_eq(run.slots, 2);
    run = begin(1);
    look(&run, 0);
    cr_expect_eq(run.slots, 2);
}

Test(autoscale, does_not_grow_while_slots_are_free_or_nothing_has_waited)
{
    struct autoscale autoscale = {0};
    struct autoscale_view view = BOUNDS;

    view.now_us = 100 * SECOND;
    view.slots = view.busy = 4;
    view.oldest_age_us = SECOND / 2;
    cr_expect_eq(autoscale_decide(&autoscale, &view), 4);
    view.now_us += 2 * SECOND;
    view.oldest_age_us = 60 * SECOND;
    view.busy = 3; /* it waits for something else than a slot: a limit, a pause */
    cr_expect_eq(autoscale_decide(&autoscale, &view), 4);
    view.busy = 4;
    cr_expect_eq(autoscale_decide(&autoscale, &view), 6);
}

Test(autoscale, takes_one_step_at_a_time)
{
    struct autoscale autoscale = {0};
    struct autoscale_view view = BOUNDS;

    view.now_us = 100 * SECOND;
    view.slots = view.busy = 4;
    view.oldest_age_us = 60 * SECOND;
    (void)autoscale_decide(&autoscale, &view);
    view.now_us += SECOND;
    cr_assert_eq(autoscale_decide(&autoscale, &view), 6);
    view.slots = view.busy = 6;
    view.now_us += SECOND / 2;
    cr_expect_eq(autoscale_decide(&autoscale, &view), 6);
    view.now_us += SECOND;
    cr_expect_eq(autoscale_decide(&autoscale, &view), 9);
}

Test(autoscale, keeps_what_it_has_at_first_and_shrinks_only_after_the_time_to_keep)
{
    struct run run = begin(16);

    look_for(&run, 29, 0);
    cr_expect_eq(run.slots, 16);
    look_for(&run, 40, 0);
    cr_expect_eq(run.slots, 2);
}

Test(autoscale, a_peak_counts_for_as_long_as_a_pool_is_kept)
{
    struct run run = begin(16);

    for (int i = 0; i < 40; i++) {
        look_for(&run, 14, 0);
        look(&run, 14);
    }
    cr_expect_eq(run.slots, 16, "used every fifteen seconds");
}

Test(autoscale, a_steady_load_of_any_size_finds_its_pool_and_keeps_it)
{
    for (int demand = 0; demand <= 40; demand++) {
        struct run run = begin(8);
        int settled;

        look_for(&run, 300, demand);
        settled = run.slots;
        run.changes = 0;
        look_for(&run, 3600, demand);
        cr_expect_eq(run.changes, 0, "demand %d: from %d", demand, settled);
        cr_expect(run.slots >= demand || run.slots == 20, "demand %d: %d", demand, run.slots);
        cr_expect(run.slots <= demand * 3 / 2 + 2, "demand %d: %d", demand, run.slots);
    }
}

Test(autoscale, a_load_that_swings_faster_than_the_time_to_keep_does_not_make_it_waver)
{
    struct run run = begin(2);

    look_for(&run, 60, 12);
    run.changes = 0;
    for (int i = 0; i < 200; i++)
        look(&run, i % 10 < 5 ? 12 : 1);
    cr_expect_leq(run.changes, 1);
    cr_expect_geq(run.slots, 12);
}
