/* SPDX-License-Identifier: MIT
 *
 * The pure part of a payment; see payment.h. Opens nothing.
 */
#include "common/payment.h"

#include <string.h>

#include "common/auto.h"

static const char *const names[] = {
#define X(name, text) text,
    PAYMENT_STATES(X)
#undef X
};

#define TO(state) (1u << PAYMENT_##state)

static const unsigned legal_moves[PAYMENT_STATE_COUNT] = {
    [PAYMENT_PENDING] = TO(PROCESSING) | TO(FAILED),
    [PAYMENT_PROCESSING] = TO(SUCCEEDED) | TO(FAILED) | TO(UNKNOWN),
    [PAYMENT_UNKNOWN] = TO(SUCCEEDED) | TO(FAILED),
    [PAYMENT_SUCCEEDED] = TO(REFUNDED),
};

const char *payment_state_name(enum payment_state state) { return names[state]; }

bool payment_state_parse(const char *name, enum payment_state *ret_state)
{
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret_state = (enum payment_state)i;
            return true;
        }
    }
    return false;
}

bool payment_may_become(enum payment_state from, enum payment_state to)
{
    return (legal_moves[from] & (1u << to)) != 0;
}

/* An answer that carries a payment intent: its status decides. */
static enum gateway_outcome judge_intent(const struct gateway_answer *answer)
{
    /* requires_action and its kin: nobody is there to authenticate, and nothing was charged. */
    static const char *const uncharged[] = {"requires_payment_method", "requires_confirmation",
                                            "requires_action", "canceled"};

    if (!answer->is_readable)
        return GATEWAY_RETRY; /* garbage after the charge may hide a success */
    if (strcmp(answer->intent_status, "succeeded") == 0)
        return answer->matches ? GATEWAY_SUCCEEDED : GATEWAY_MISMATCH;
    for (size_t i = 0; i < COUNT_OF(uncharged); i++)
        if (strcmp(answer->intent_status, uncharged[i]) == 0)
            return GATEWAY_DECLINED;
    return GATEWAY_RETRY; /* processing, a hold (requires_capture), or one we have never heard of */
}

enum gateway_outcome payment_judge(const struct gateway_answer *answer)
{
    if (!answer->arrived)
        return GATEWAY_RETRY;
    if (answer->status >= 200 && answer->status < 300)
        return judge_intent(answer);
    if (answer->status == 402)
        return GATEWAY_DECLINED;
    if (answer->should_retry)
        return GATEWAY_RETRY;
    /* The key was used with other parameters: that call may have charged. */
    if (strcmp(answer->error_type, "idempotency_error") == 0)
        return GATEWAY_RETRY;
    switch (answer->status) {
    case 400:
    case 404:
    case 422:
        /* A token that the gateway does not know is the customer's, not ours. */
        return strcmp(answer->error_type, "card_error") == 0 ||
                       strcmp(answer->error_param, "payment_method") == 0
                   ? GATEWAY_DECLINED
                   : GATEWAY_REFUSED;
    default:
        /* 409, 429, 5xx pass. 3xx, 401 and 403 are settings: once mended, the same key goes on. */
        return GATEWAY_RETRY;
    }
}
