/* SPDX-License-Identifier: MIT
 *
 * Answers made once for all open pages: for how long they are kept.
 */
#include "api/dashboard/shared.h"

#include <criterion/criterion.h>

#include "common/clock.h"

/* Of `count` answers that cost the same: the share of the time for which they keep a session busy.
 */
static double share_of(int64_t cost_us, size_t count)
{
    return (double)cost_us * (double)count / (double)shared_keep_us(cost_us, count);
}

Test(shared, all_together_keep_the_database_busy_for_a_fiftieth_of_the_time)
{
    for (size_t count = 1; count <= SHARED_COUNT; count++)
        for (int64_t cost_us = 1;
             cost_us * SHARED_COST_FACTOR * (int64_t)count < SHARED_KEEP_MAX_MS * US_PER_MS;
             cost_us += 997)
            cr_expect_leq(share_of(cost_us, count), 1.0 / SHARED_COST_FACTOR + 1e-9);
}

Test(shared, an_answer_is_kept_for_a_second_at_least_and_ten_at_most)
{
    cr_expect_eq(shared_keep_us(0, 1), US_PER_S);
    cr_expect_eq(shared_keep_us(1000, 1), US_PER_S);
    cr_expect_eq(shared_keep_us(40 * US_PER_MS, 1), 2 * US_PER_S);
    cr_expect_eq(shared_keep_us(40 * US_PER_MS, 3), 6 * US_PER_S);
    cr_expect_eq(shared_keep_us(US_PER_S, 1), 10 * US_PER_S);
    cr_expect_eq(shared_keep_us(INT64_MAX, SHARED_COUNT), 10 * US_PER_S);
}

Test(shared, how_old_an_answer_may_be_stands_in_the_header)
{
    static const struct {
        const char *header;
        int64_t seconds;
    } cases[] = {{NULL, 0},
                 {"", 0},
                 {"no-cache", 0},
                 {"max-age=x", 0},
                 {"max-age=0", 0},
                 {"max-age=3", 3},
                 {"max-age=99999999999999999999", 10},
                 {"no-store, Max-Age=2", 2}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_expect_eq(shared_max_age_us(cases[i].header), cases[i].seconds * US_PER_S, "%s",
                     cases[i].header ? cases[i].header : "(none)");
}
