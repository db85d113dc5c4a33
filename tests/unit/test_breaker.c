/* SPDX-License-Identifier: MIT
 *
 * When a server outside is left alone, and when it is asked again.
 */
#include "worker/breaker.h"

#include <criterion/criterion.h>

#include "common/clock.h"

enum { SLOTS = 8 };

static struct breaker breaker;
static int64_t now_us;
static int64_t wait_us;

static void start(void)
{
    now_us = 1000 * US_PER_S;
    breaker_init(&breaker, SLOTS);
}

static void finish(void) { breaker_release(&breaker); }

TestSuite(breaker, .init = start, .fini = finish);

static bool enter(void) { return breaker_enter(&breaker, now_us, &wait_us); }

static enum breaker_change leave(bool answered)
{
    return breaker_leave(&breaker, now_us, answered);
}

/* One call of some milliseconds. */
static enum breaker_change call(bool answered)
{
    cr_assert(enter());
    now_us += 5 * US_PER_MS;
    return leave(answered);
}

static void open_it(void)
{
    cr_assert_eq(call(false), BREAKER_SAME);
    cr_assert_eq(call(false), BREAKER_SAME);
    cr_assert_eq(call(false), BREAKER_OPENED);
}

Test(breaker, failures_in_a_row_open_it_and_one_answer_closes_it)
{
    open_it();
    cr_expect_not(enter());
    cr_expect_eq(wait_us, 500 * US_PER_MS);

    now_us += wait_us;
    cr_expect_eq(call(true), BREAKER_CLOSED);
    cr_expect(enter());
    cr_expect(enter());
}

Test(breaker, failures_between_answers_open_nothing)
{
    for (int i = 0; i < 100; i++)
        cr_assert_eq(call(i % 3 == 2), BREAKER_SAME);
    cr_expect(enter());
}

Test(breaker, only_one_looks_whether_the_server_is_back)
{
    open_it();
    now_us += 500 * US_PER_MS;
    cr_expect(enter());
    cr_expect_not(enter());
    cr_expect_gt(wait_us, 0);

    cr_expect_eq(leave(true), BREAKER_CLOSED);
    cr_expect(enter());
}

Test(breaker, the_pauses_grow_to_five_seconds_and_begin_anew_after_an_answer)
{
    static const int64_t pauses_ms[] = {500, 1000, 2000, 4000, 5000, 5000};

    open_it();
    for (size_t i = 0; i < sizeof pauses_ms / sizeof pauses_ms[0]; i++) {
        cr_assert_not(enter());
        cr_expect_eq(wait_us, pauses_ms[i] * US_PER_MS, "pause %zu", i);
        now_us += wait_us;
        cr_expect_eq(call(false), BREAKER_SAME);
    }
    now_us += 5 * US_PER_S;
    cr_expect_eq(call(true), BREAKER_CLOSED);
    open_it();
    cr_expect_not(enter());
    cr_expect_eq(wait_us, 500 * US_PER_MS);
}

Test(breaker, calls_that_were_on_their_way_when_it_opened_do_not_prolong_it)
{
    for (int i = 0; i < 5; i++)
        cr_assert(enter());
    cr_expect_eq(leave(false), BREAKER_SAME);
    cr_expect_eq(leave(false), BREAKER_SAME);
    cr_expect_eq(leave(false), BREAKER_OPENED);
    now_us += 100 * US_PER_MS;
    cr_expect_eq(leave(false), BREAKER_SAME);

    cr_expect_not(enter());
    cr_expect_eq(wait_us, 400 * US_PER_MS);
    cr_expect_eq(leave(true), BREAKER_CLOSED, "one of them was answered after all");
}

Test(breaker, a_silent_server_holds_half_of_the_slots)
{
    for (int i = 0; i < SLOTS / 2; i++)
        cr_assert(enter());
    now_us += 1001 * US_PER_MS;
    cr_expect_not(enter());
    cr_expect_eq(wait_us, US_PER_S);

    cr_expect_eq(leave(true), BREAKER_SAME);
    cr_expect(enter(), "it has said something");
    cr_expect(enter());
}

Test(breaker, a_burst_after_a_long_rest_is_not_held_back)
{
    cr_assert_eq(call(true), BREAKER_SAME);
    now_us += 3600 * US_PER_S;
    for (int i = 0; i < SLOTS; i++)
        cr_expect(enter());
}

Test(breaker, none_is_always_closed)
{
    cr_expect(breaker_enter(NULL, now_us, &wait_us));
    cr_expect_eq(breaker_leave(NULL, now_us, false), BREAKER_SAME);
}

Test(breaker, jobs_come_back_neither_too_early_nor_all_at_once)
{
    for (int times = 0; times < 100; times++) {
        int64_t least_us = breaker_delay_us(3 * US_PER_S, times, 0);
        int64_t most_us = breaker_delay_us(3 * US_PER_S, times, BREAKER_RANDOM_MAX - 1);

        cr_assert_geq(least_us, 3 * US_PER_S);
        cr_assert_gt(most_us, least_us);
        cr_assert_leq(most_us, 32 * US_PER_S);
    }
    cr_expect_gt(breaker_delay_us(US_PER_S, 6, 0), 10 * US_PER_S);
}
