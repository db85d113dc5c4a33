/* SPDX-License-Identifier: MIT
 *
 * The pure part of an order; see order.h. Opens nothing.
 */
#include "common/order.h"

#include <string.h>

#include "common/auto.h"

static const char *const names[] = {
#define X(name, text) text,
    ORDER_STATES(X)
#undef X
};

#define TO(state) (1u << ORDER_##state)

static const unsigned legal_moves[ORDER_STATE_COUNT] = {
    [ORDER_PENDING] = TO(PAID) | TO(PAYMENT_FAILED) | TO(CANCELLED) | TO(EXPIRED),
    [ORDER_PAYMENT_FAILED] = TO(PENDING) | TO(PAID) | TO(CANCELLED) | TO(EXPIRED),
    [ORDER_PAID] = TO(REFUNDED),
};

const char *order_state_name(enum order_state state) { return names[state]; }

bool order_state_parse(const char *name, enum order_state *ret_state)
{
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret_state = (enum order_state)i;
            return true;
        }
    }
    return false;
}

bool order_may_become(enum order_state from, enum order_state to)
{
    return (legal_moves[from] & (1u << to)) != 0;
}

bool order_is_payable(enum order_state state)
{
    return state == ORDER_PENDING || state == ORDER_PAYMENT_FAILED;
}
