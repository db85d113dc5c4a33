/* SPDX-License-Identifier: MIT
 *
 * The states of a payment, and what each answer of the gateway means: nothing that may have been
 * charged may be called declined, and nothing is paid that does not match.
 */
#include "common/payment.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"

/* Row from, column to, in the order of PAYMENT_STATES. tests/integration/test_job_moves.c asks the
 * database the same. */
Test(payment, may_become_for_every_pair)
{
    static const char *const expected[PAYMENT_STATE_COUNT] = {
        /*                       PPSFUR */
        [PAYMENT_PENDING] = ".x.x..",   [PAYMENT_PROCESSING] = "..xxx.",
        [PAYMENT_SUCCEEDED] = ".....x", [PAYMENT_FAILED] = "......",
        [PAYMENT_UNKNOWN] = "..xx..",   [PAYMENT_REFUNDED] = "......",
    };

    for (int from = 0; from < PAYMENT_STATE_COUNT; from++)
        for (int to = 0; to < PAYMENT_STATE_COUNT; to++)
            cr_expect_eq(payment_may_become((enum payment_state)from, (enum payment_state)to),
                         expected[from][to] == 'x', "%s to %s",
                         payment_state_name((enum payment_state)from),
                         payment_state_name((enum payment_state)to));
}

Test(payment, state_names_round_trip)
{
    enum payment_state state = PAYMENT_UNKNOWN;

    for (int i = 0; i < PAYMENT_STATE_COUNT; i++) {
        cr_expect(payment_state_parse(payment_state_name((enum payment_state)i), &state));
        cr_expect_eq(state, (enum payment_state)i);
    }
    state = PAYMENT_UNKNOWN;
    cr_expect_not(payment_state_parse("", &state));
    cr_expect_not(payment_state_parse("Succeeded", &state));
    cr_expect_eq(state, PAYMENT_UNKNOWN);
}

static struct gateway_answer answer(long status)
{
    return (struct gateway_answer){.arrived = true,
                                   .status = status,
                                   .intent_status = "",
                                   .error_type = "",
                                   .error_param = "",
                                   .error_code = ""};
}

static struct gateway_answer intent(const char *status)
{
    struct gateway_answer a = answer(200);

    a.is_readable = true;
    a.matches = true;
    a.intent_status = status;
    return a;
}

static void expect(const struct gateway_answer *a, enum gateway_outcome outcome)
{
    cr_expect_eq(payment_judge(a), outcome, "HTTP %ld, intent \"%s\", error \"%s\": %d, not %d",
                 a->status, a->intent_status, a->error_type, (int)payment_judge(a), (int)outcome);
}

Test(payment_judge, charged_only_when_everything_agrees)
{
    struct gateway_answer a = intent("succeeded");

    expect(&a, GATEWAY_SUCCEEDED);
    a.status = 201;
    expect(&a, GATEWAY_SUCCEEDED);
    a.matches = false;
    expect(&a, GATEWAY_MISMATCH);
    a.matches = true;
    a.is_readable = false;
    expect(&a, GATEWAY_RETRY);
}

Test(payment_judge, statuses_that_say_not_charged)
{
    static const char *const statuses[] = {"requires_payment_method", "requires_confirmation",
                                           "requires_action", "canceled"};

    for (size_t i = 0; i < COUNT_OF(statuses); i++) {
        struct gateway_answer a = intent(statuses[i]);

        expect(&a, GATEWAY_DECLINED);
    }
}

/* The key was first used with other parameters: that call may have charged. */
Test(payment_judge, a_key_of_another_request_does_not_tell)
{
    static const long statuses[] = {400, 409, 422};

    for (size_t i = 0; i < COUNT_OF(statuses); i++) {
        struct gateway_answer a = answer(statuses[i]);

        a.error_type = "idempotency_error";
        expect(&a, GATEWAY_RETRY);
    }
}

/* A hold on the money, a status of tomorrow's API, none at all: not known to be uncharged. */
Test(payment_judge, statuses_that_do_not_tell)
{
    static const char *const statuses[] = {"processing", "requires_capture", "partially_funded", "",
                                           "SUCCEEDED"};

    for (size_t i = 0; i < COUNT_OF(statuses); i++) {
        struct gateway_answer a = intent(statuses[i]);

        expect(&a, GATEWAY_RETRY);
    }
}

Test(payment_judge, no_answer_is_never_an_end)
{
    struct gateway_answer a = answer(0);

    a.arrived = false;
    expect(&a, GATEWAY_RETRY);
    a.status = 402; /* the head came, the rest did not */
    expect(&a, GATEWAY_RETRY);
    a.status = 200;
    expect(&a, GATEWAY_RETRY);
}

Test(payment_judge, by_http_status)
{
    static const struct {
        long status;
        enum gateway_outcome outcome;
    } cases[] = {
        {200, GATEWAY_RETRY /* unreadable */},
        {204, GATEWAY_RETRY},
        /* Settings: once mended, the same key goes on. */
        {301, GATEWAY_RETRY},
        {302, GATEWAY_RETRY},
        {400, GATEWAY_REFUSED},
        {401, GATEWAY_RETRY},
        {402, GATEWAY_DECLINED},
        {403, GATEWAY_RETRY},
        {404, GATEWAY_REFUSED},
        {409, GATEWAY_RETRY},
        {422, GATEWAY_REFUSED},
        {429, GATEWAY_RETRY},
        {500, GATEWAY_RETRY},
        {502, GATEWAY_RETRY},
        {503, GATEWAY_RETRY},
        {504, GATEWAY_RETRY},
        {599, GATEWAY_RETRY},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct gateway_answer a = answer(cases[i].status);

        expect(&a, cases[i].outcome);
    }
}

Test(payment_judge, the_gateway_may_ask_for_a_retry)
{
    struct gateway_answer a = answer(400);

    a.should_retry = true;
    expect(&a, GATEWAY_RETRY);
}

Test(payment_judge, a_card_error_is_a_decline_whatever_its_status)
{
    struct gateway_answer a = answer(400);

    a.error_type = "card_error";
    expect(&a, GATEWAY_DECLINED);
    a.error_type = "invalid_request_error";
    expect(&a, GATEWAY_REFUSED);
    a.status = 402;
    a.error_type = "card_error";
    expect(&a, GATEWAY_DECLINED);
    a.status = 500;
    expect(&a, GATEWAY_RETRY);
}

/* What the order comes to, or a token that is spent, is this payment's; what only our request can
 * have wrong stays ours. */
Test(payment_judge, a_refusal_that_is_about_this_payment_is_a_decline)
{
    static const struct {
        const char *code;
        const char *param;
        enum gateway_outcome outcome;
    } cases[] = {
        {"amount_too_small", "amount", GATEWAY_DECLINED},
        {"amount_too_large", "amount", GATEWAY_DECLINED},
        {"parameter_invalid_integer", "amount", GATEWAY_DECLINED},
        {"payment_method_unexpected_state", "", GATEWAY_DECLINED},
        {"token_already_used", "", GATEWAY_DECLINED},
        {"", "payment_method", GATEWAY_DECLINED},
        {"parameter_unknown", "amount", GATEWAY_REFUSED},
        {"parameter_missing", "amount", GATEWAY_REFUSED},
        {"parameter_invalid_integer", "metadata", GATEWAY_REFUSED},
        {"", "currency", GATEWAY_REFUSED},
        {"secret_key_required", "", GATEWAY_REFUSED},
        {"", "", GATEWAY_REFUSED},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct gateway_answer a = answer(400);

        a.error_type = "invalid_request_error";
        a.error_code = cases[i].code;
        a.error_param = cases[i].param;
        expect(&a, cases[i].outcome);
        a.status = 500;
        expect(&a, GATEWAY_RETRY);
    }
}

/* A token that the gateway does not know is the customer's mistake; any other parameter is ours. */
Test(payment_judge, an_unknown_token_is_a_decline)
{
    struct gateway_answer a = answer(400);

    a.error_type = "invalid_request_error";
    a.error_param = "payment_method";
    expect(&a, GATEWAY_DECLINED);
    a.status = 404;
    expect(&a, GATEWAY_DECLINED);
    a.error_param = "amount";
    expect(&a, GATEWAY_REFUSED);
    a.error_param = "payment_method";
    a.status = 401;
    expect(&a, GATEWAY_RETRY);
}

/* An order of retries that Stripe could forget the key before is a second charge. */
Test(payment, the_key_is_dropped_before_stripe_may_forget_it)
{
    cr_assert_lt(PAYMENT_KEY_LIFE_US, INT64_C(24) * 3600 * 1000000);
}
