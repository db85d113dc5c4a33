/* SPDX-License-Identifier: MIT
 *
 * The states of an order and its legal moves; the same stand in sql/0049_judged_once.sql.
 */
#ifndef COMMON_ORDER_H
#define COMMON_ORDER_H

#include <stdbool.h>

#define ORDER_STATES(X)                                                                            \
    X(PENDING, "pending")                                                                          \
    X(PAID, "paid")                                                                                \
    X(PAYMENT_FAILED, "payment_failed") /* declined; may be paid again */                          \
    X(CANCELLED, "cancelled")                                                                      \
    X(EXPIRED, "expired")                                                                          \
    X(REFUNDED, "refunded")

enum order_state {
#define X(name, text) ORDER_##name,
    ORDER_STATES(X)
#undef X
};

enum { ORDER_STATE_COUNT = ORDER_REFUNDED + 1 };

const char *order_state_name(enum order_state state);
bool order_state_parse(const char *name, enum order_state *ret_state);
bool order_may_become(enum order_state from, enum order_state to);
/* Whether a payment may be started for it. */
bool order_is_payable(enum order_state state);

#endif
