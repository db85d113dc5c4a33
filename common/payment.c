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

static bool is_one_of(const char *text, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, texts[i]) == 0)
            return true;
    return false;
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
    if (is_one_of(answer->intent_status, uncharged, COUNT_OF(uncharged)))
        return GATEWAY_DECLINED;
    return GATEWAY_RETRY; /* processing, a hold (requires_capture), or one we have never heard of */
}

/* Whether a refused request was refused for what this customer wants to pay, or with what; then it
 * is an answer about the payment. Anything else of it is our own mistake. Codes as in Stripe's
 * reference, "Error codes". */
static bool is_about_payment(const struct gateway_answer *answer)
{
    static const char *const codes[] = {
        "amount_too_small",
        "amount_too_large",
        "charge_exceeds_source_limit",
        "charge_exceeds_transaction_limit",
        "payment_intent_payment_attempt_expired",
        "payment_intent_payment_attempt_failed",
        "payment_method_currency_mismatch",
        "payment_method_customer_decline",
        "payment_method_not_available",
        "payment_method_provider_decline",
        "payment_method_unexpected_state",
        "token_already_used",
        "token_in_use",
    };

    /* A token that the gateway does not know, or that was used before, is the customer's. */
    if (strcmp(answer->error_type, "card_error") == 0 ||
        strcmp(answer->error_param, "payment_method") == 0 ||
        is_one_of(answer->error_code, codes, COUNT_OF(codes)))
        return true;
    /* An order that comes to nothing: the amount is a whole number in any case. */
    return strcmp(answer->error_param, "amount") == 0 &&
           strcmp(answer->error_code, "parameter_invalid_integer") == 0;
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
        return is_about_payment(answer) ? GATEWAY_DECLINED : GATEWAY_REFUSED;
    default:
        /* 409, 429, 5xx pass. 3xx, 401 and 403 are settings: once mended, the same key goes on. */
        return GATEWAY_RETRY;
    }
}
