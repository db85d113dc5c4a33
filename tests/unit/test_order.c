/* SPDX-License-Identifier: MIT
 *
 * The states of an order: every pair.
 */
#include "common/order.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"

/* Row from, column to, in the order of ORDER_STATES. tests/integration/test_job_moves.c asks the
 * database the same. */
Test(order, may_become_for_every_pair)
{
    static const char *const expected[ORDER_STATE_COUNT] = {
        /*                     PPFCXR */
        [ORDER_PENDING] = ".xxxx.",   [ORDER_PAID] = ".....x",    [ORDER_PAYMENT_FAILED] = "xx.xx.",
        [ORDER_CANCELLED] = "......", [ORDER_EXPIRED] = "......", [ORDER_REFUNDED] = "......",
    };

    for (int from = 0; from < ORDER_STATE_COUNT; from++)
        for (int to = 0; to < ORDER_STATE_COUNT; to++)
            cr_expect_eq(order_may_become((enum order_state)from, (enum order_state)to),
                         expected[from][to] == 'x', "%s to %s",
                         order_state_name((enum order_state)from),
                         order_state_name((enum order_state)to));
}

Test(order, payable_is_what_a_payment_can_settle)
{
    for (int i = 0; i < ORDER_STATE_COUNT; i++) {
        enum order_state state = (enum order_state)i;

        cr_expect_eq(order_is_payable(state), order_may_become(state, ORDER_PAID), "%s",
                     order_state_name(state));
    }
}

Test(order, state_names_round_trip)
{
    enum order_state state = ORDER_EXPIRED;

    for (int i = 0; i < ORDER_STATE_COUNT; i++) {
        cr_expect(order_state_parse(order_state_name((enum order_state)i), &state));
        cr_expect_eq(state, (enum order_state)i);
    }
    state = ORDER_EXPIRED;
    cr_expect_not(order_state_parse("", &state));
    cr_expect_not(order_state_parse("PAID", &state));
    cr_expect_not(order_state_parse("paid ", &state));
    cr_expect_eq(state, ORDER_EXPIRED);
}
