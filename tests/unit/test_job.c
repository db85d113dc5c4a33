/* SPDX-License-Identifier: MIT
 *
 * The pure part of a job: every pair of states, and the bounds of the backoff.
 */
#include "common/job.h"

#include <limits.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/mem.h"

/* The drawing in worker/README.md as a matrix: row from, column to, in the order of JOB_STATES.
 * tests/integration/test_job_moves.c asks the database the same. */
Test(job, may_become_for_every_pair)
{
    static const char *const expected[JOB_STATE_COUNT] = {
        /*             PSRSFR */
        [JOB_PENDING] = ".x..xx", [JOB_STARTED] = "x.xxxx", [JOB_RETRY] = "xx..xx",
        [JOB_SUCCESS] = "......", [JOB_FAILURE] = "x.....", [JOB_REVOKED] = "x.....",
    };

    for (int from = 0; from < JOB_STATE_COUNT; from++)
        for (int to = 0; to < JOB_STATE_COUNT; to++)
            cr_expect_eq(job_may_become((enum job_state)from, (enum job_state)to),
                         expected[from][to] == 'x', "%s to %s",
                         job_state_name((enum job_state)from), job_state_name((enum job_state)to));
}

Test(job, success_is_for_ever)
{
    for (int to = 0; to < JOB_STATE_COUNT; to++)
        cr_expect_not(job_may_become(JOB_SUCCESS, (enum job_state)to));
}

Test(job, a_final_state_is_left_only_by_hand)
{
    cr_assert(job_is_final(JOB_SUCCESS));
    cr_assert(job_is_final(JOB_FAILURE));
    cr_assert(job_is_final(JOB_REVOKED));
    cr_assert_not(job_is_final(JOB_PENDING));
    cr_assert_not(job_is_final(JOB_STARTED));
    cr_assert_not(job_is_final(JOB_RETRY));
    for (int from = 0; from < JOB_STATE_COUNT; from++)
        for (int to = 0; to < JOB_STATE_COUNT; to++)
            if (job_is_final((enum job_state)from))
                cr_expect(!job_may_become((enum job_state)from, (enum job_state)to) ||
                          to == JOB_PENDING);
}

Test(job, state_names_round_trip)
{
    for (int i = 0; i < JOB_STATE_COUNT; i++) {
        enum job_state state = JOB_PENDING;

        cr_expect(job_state_parse(job_state_name((enum job_state)i), &state));
        cr_expect_eq(state, (enum job_state)i);
    }
}

Test(job, state_parse_refuses)
{
    static const char *const bad[] = {"", "pending", "PENDING ", "PEND", "DONE", "STARTED\n"};
    enum job_state state = JOB_RETRY;

    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_not(job_state_parse(bad[i], &state), "\"%s\"", bad[i]);
    cr_expect_eq(state, JOB_RETRY);
}

Test(job, release_forgets_all)
{
    struct job job = {.task = mem_dup("t"), .queue = mem_dup("q"), .args = mem_dup("[]")};

    job_release(&job);
    cr_assert_null(job.task);
    cr_assert_null(job.args);
    job_release(&job);
}

static const int64_t BASE = 2 * US_PER_S;
static const int64_t MAX = 3600 * US_PER_S;

/* The default: exponential, the upper half random. */
static int64_t backoff_us(int attempt, int64_t base, int64_t max, uint64_t random)
{
    const struct backoff backoff = {.base_us = base, .max_us = max};

    return job_backoff_us(&backoff, attempt, random);
}

static int64_t longest(int attempt, int64_t base, int64_t max)
{
    int64_t most = 0;

    for (uint32_t i = 0; i < 64; i++) {
        int64_t wait = backoff_us(attempt, base, max, i * UINT64_C(0x9e3779b97f4a7c15));

        if (wait > most)
            most = wait;
    }
    return most;
}

Test(job_backoff, lies_in_the_upper_half_of_the_step)
{
    int64_t step = BASE;

    for (int attempt = 1; attempt <= 20; attempt++) {
        for (uint32_t i = 0; i < 1000; i++) {
            int64_t wait = backoff_us(attempt, BASE, MAX, i * UINT64_C(0x9e3779b97f4a7c15));

            cr_assert_geq(wait, step / 2, "attempt %d: %lld", attempt, (long long)wait);
            cr_assert_leq(wait, step, "attempt %d: %lld", attempt, (long long)wait);
        }
        step = step * 2 > MAX ? MAX : step * 2;
    }
}

Test(job_backoff, its_bound_never_falls)
{
    int64_t before = 0;

    for (int attempt = 1; attempt <= 1000; attempt++) {
        /* The same random number in the same range: the step alone decides. */
        int64_t wait = backoff_us(attempt, BASE, MAX, 0);

        cr_assert_geq(wait, before);
        before = wait;
    }
    cr_assert_eq(before, MAX / 2);
}

Test(job_backoff, never_passes_the_maximum)
{
    static const int attempts[] = {12, 31, 32, 33, 63, 64, 65, 1000, INT_MAX};

    for (size_t i = 0; i < COUNT_OF(attempts); i++) {
        cr_expect_leq(longest(attempts[i], BASE, MAX), MAX);
        cr_expect_geq(longest(attempts[i], BASE, MAX), MAX / 2);
    }
}

Test(job_backoff, no_overflow_with_the_largest_maximum)
{
    static const int attempts[] = {1, 42, 43, 44, 62, 63, 64, 1000};

    for (size_t i = 0; i < COUNT_OF(attempts); i++)
        cr_expect_geq(backoff_us(attempts[i], BASE, INT64_MAX, UINT32_MAX), BASE / 2);
}

Test(job_backoff, a_base_above_the_maximum_is_the_maximum)
{
    cr_assert_leq(longest(1, 10 * MAX, MAX), MAX);
}

Test(job_backoff, odd_attempts_count_as_the_first)
{
    cr_assert_leq(longest(0, BASE, MAX), BASE);
    cr_assert_leq(longest(-5, BASE, MAX), BASE);
    cr_assert_geq(backoff_us(0, BASE, MAX, 0), BASE / 2);
}

Test(job_backoff, jobs_that_failed_together_spread)
{
    int64_t least = INT64_MAX;
    int64_t most = 0;

    for (uint32_t i = 0; i < 1000; i++) {
        int64_t wait = backoff_us(3, BASE, MAX, i * UINT64_C(0x9e3779b97f4a7c15));

        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    cr_assert_gt(most - least, 4 * BASE / 2 * 9 / 10, "nine tenths of the half step");
}

/* The wait after each of the first failures, in seconds. */
static void expect_waits(const struct backoff *backoff, const int *seconds, int count)
{
    for (int i = 0; i < count; i++)
        cr_expect_eq(job_backoff_us(backoff, i + 1, 12345), seconds[i] * US_PER_S,
                     "failure %d: %lld us", i + 1,
                     (long long)job_backoff_us(backoff, i + 1, 12345));
}

Test(job_backoff, exponential_by_a_factor_of_its_own)
{
    const struct backoff backoff = {.jitter = BACKOFF_JITTER_NONE,
                                    .factor_percent = 300,
                                    .base_us = 2 * US_PER_S,
                                    .max_us = 100 * US_PER_S};

    expect_waits(&backoff, (const int[]){2, 6, 18, 54, 100, 100}, 6);
    cr_expect_eq(job_backoff_us(&backoff, INT_MAX, 0), backoff.max_us);
}

Test(job_backoff, linear_grows_by_its_base_or_a_part_of_it)
{
    struct backoff backoff = {.curve = BACKOFF_LINEAR,
                              .jitter = BACKOFF_JITTER_NONE,
                              .base_us = 10 * US_PER_S,
                              .max_us = 35 * US_PER_S};

    expect_waits(&backoff, (const int[]){10, 20, 30, 35, 35}, 5);
    backoff.factor_percent = 50;
    expect_waits(&backoff, (const int[]){10, 15, 20, 25, 30, 35, 35}, 7);
    cr_expect_eq(job_backoff_us(&backoff, INT_MAX, 0), backoff.max_us);
}

Test(job_backoff, constant_stays)
{
    const struct backoff backoff = {.curve = BACKOFF_CONSTANT,
                                    .jitter = BACKOFF_JITTER_NONE,
                                    .base_us = 7 * US_PER_S,
                                    .max_us = 60 * US_PER_S};

    expect_waits(&backoff, (const int[]){7, 7, 7, 7}, 4);
    cr_expect_eq(job_backoff_us(&backoff, INT_MAX, 0), backoff.base_us);
}

Test(job_backoff, a_base_beyond_the_maximum_is_the_maximum)
{
    struct backoff backoff = {
        .jitter = BACKOFF_JITTER_NONE, .base_us = 7 * US_PER_S, .max_us = 5 * US_PER_S};

    for (int curve = BACKOFF_EXPONENTIAL; curve <= BACKOFF_CONSTANT; curve++) {
        backoff.curve = (enum backoff_curve)curve;
        expect_waits(&backoff, (const int[]){5, 5, 5}, 3);
    }
}

Test(job_backoff, a_factor_that_does_not_grow_ends)
{
    const struct backoff backoff = {.jitter = BACKOFF_JITTER_NONE,
                                    .factor_percent = 101,
                                    .base_us = 1, /* 1 % of it is nothing */
                                    .max_us = MAX};

    cr_expect_eq(job_backoff_us(&backoff, INT_MAX, 0), 1);
}

Test(job_backoff, full_jitter_reaches_from_nothing_to_all)
{
    const struct backoff backoff = {.jitter = BACKOFF_JITTER_FULL, .base_us = MAX, .max_us = MAX};
    int64_t least = MAX;
    int64_t most = 0;

    for (uint64_t i = 0; i < 10000; i++) {
        int64_t wait = job_backoff_us(&backoff, 1, i * UINT64_C(0x9e3779b97f4a7c15));

        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    cr_expect_geq(least, 0);
    cr_expect_leq(most, MAX);
    cr_expect_lt(least, MAX / 100);
    cr_expect_gt(most, MAX - MAX / 100, "a wait of an hour is more than 32 bits of microseconds");
}
