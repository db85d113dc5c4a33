/* SPDX-License-Identifier: MIT
 *
 * Whom an order of some age concerns.
 */
#include "worker/orders.h"

#include <criterion/criterion.h>

Test(orders, one_concerns_what_was_there_when_it_was_given)
{
    cr_expect(orders_concerns(5, 10));
    cr_expect(orders_concerns(0, 1));
    cr_expect_not(orders_concerns(10, 5), "it began after the order");
    cr_expect_not(orders_concerns(7, 7));
    cr_expect_not(orders_concerns(-1, 10), "there is none");
}
