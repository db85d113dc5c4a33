/* SPDX-License-Identifier: MIT
 *
 * Whom an order of some age concerns.
 */
#include "worker/obey.h"

#include <criterion/criterion.h>

Test(obey, one_concerns_what_was_there_when_it_was_given)
{
    cr_expect(obey_concerns(5, 10));
    cr_expect(obey_concerns(0, 1));
    cr_expect_not(obey_concerns(10, 5), "it began after the order");
    cr_expect_not(obey_concerns(7, 7));
    cr_expect_not(obey_concerns(-1, 10), "there is none");
}
