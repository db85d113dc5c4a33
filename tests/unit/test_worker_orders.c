/* SPDX-License-Identifier: MIT
 *
 * The pure part of orders to workers: whom one concerns, and which of several holds.
 */
#include "common/worker_orders.h"

#include <criterion/criterion.h>

static const struct worker_order silent = {.stop_age_us = -1, .restart_age_us = -1};

Test(worker_orders, an_order_concerns_a_worker_its_host_or_all)
{
    cr_expect(worker_is_meant("all", "shop-1:0"));
    cr_expect(worker_is_meant("shop-1", "shop-1:0"));
    cr_expect(worker_is_meant("shop-1:0", "shop-1:0"));
    cr_expect_not(worker_is_meant("shop-1:0", "shop-1:00"));
    cr_expect_not(worker_is_meant("shop", "shop-1:0"));
    cr_expect_not(worker_is_meant("shop-1:", "shop-1:0"));
    cr_expect_not(worker_is_meant("shop-1:1", "shop-1:11"));
    cr_expect_not(worker_is_meant("", "shop-1:0"));
    cr_expect_not(worker_is_meant("", ":0") && worker_is_meant("x", ":0"));
}

Test(worker_orders, without_rows_nothing_is_said)
{
    struct worker_order all = worker_order_merge(NULL, 0);

    cr_expect_not(all.says_quiet || all.quiet || all.says_size);
    cr_expect_lt(all.stop_age_us, 0);
    cr_expect_lt(all.restart_age_us, 0);
}

Test(worker_orders, the_nearest_row_that_says_anything_of_a_matter_decides)
{
    struct worker_order rows[3] = {silent, silent, silent};
    struct worker_order all;

    rows[0].says_quiet = true;
    rows[1].says_size = true;
    rows[1].slots_min = 2;
    rows[1].slots_max = 4;
    rows[2].says_quiet = rows[2].quiet = true;
    rows[2].says_size = true;
    rows[2].slots = 9;
    all = worker_order_merge(rows, 3);

    cr_expect(all.says_quiet && !all.quiet);
    cr_expect(all.says_size);
    cr_expect_eq(all.slots, 0, "bounds near by are not mixed with a size from far");
    cr_expect_eq(all.slots_min, 2);
    cr_expect_eq(all.slots_max, 4);
}

Test(worker_orders, of_several_orders_to_end_the_youngest_holds)
{
    struct worker_order rows[3] = {silent, silent, silent};
    struct worker_order all;

    rows[0].stop_age_us = 500;
    rows[2].stop_age_us = 20;
    rows[1].restart_age_us = 0;
    all = worker_order_merge(rows, 3);

    cr_expect_eq(all.stop_age_us, 20);
    cr_expect_eq(all.restart_age_us, 0);
}
