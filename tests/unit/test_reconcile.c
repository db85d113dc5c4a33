/* SPDX-License-Identifier: MIT
 *
 * What to do about a payment without an answer: every state, age and finding.
 */
#include "common/reconcile.h"

#include <criterion/criterion.h>

#include "common/auto.h"

#define HOURS(n) ((n)*INT64_C(3600000000))

static const struct reconcile_history nothing = {.age_us = HOURS(1)};

Test(reconcile_decide, leaves_what_has_ended_and_what_a_job_works_on)
{
    static const enum payment_state ended[] = {PAYMENT_SUCCEEDED, PAYMENT_FAILED, PAYMENT_REFUNDED};
    const struct reconcile_history busy = {.has_open_job = true, .age_us = HOURS(100)};

    for (size_t i = 0; i < COUNT_OF(ended); i++) {
        cr_expect_eq(reconcile_decide(ended[i], HOURS(30), true, &nothing), RECONCILE_LEAVE);
        cr_expect_eq(reconcile_decide(ended[i], HOURS(30), false, &nothing), RECONCILE_LEAVE);
    }
    cr_expect_eq(reconcile_decide(PAYMENT_PROCESSING, HOURS(1), true, &busy), RECONCILE_LEAVE);
    cr_expect_eq(reconcile_decide(PAYMENT_UNKNOWN, HOURS(100), false, &busy), RECONCILE_LEAVE);
}

Test(reconcile_decide, what_was_found_decides)
{
    static const enum payment_state open[] = {PAYMENT_PENDING, PAYMENT_PROCESSING, PAYMENT_UNKNOWN};

    for (size_t i = 0; i < COUNT_OF(open); i++)
        for (int hours = 0; hours < 50; hours += 7)
            cr_expect_eq(reconcile_decide(open[i], HOURS(hours), true, &nothing), RECONCILE_JUDGE);
}

Test(reconcile_decide, nothing_is_sent_once_the_key_may_be_forgotten)
{
    const struct reconcile_history revoked = {.was_revoked = true, .age_us = HOURS(1)};
    const struct reconcile_history old = {.age_us = HOURS(30)};

    cr_expect_eq(reconcile_decide(PAYMENT_PROCESSING, HOURS(19), false, &nothing),
                 RECONCILE_SEND_AGAIN);
    cr_expect_eq(reconcile_decide(PAYMENT_PROCESSING, PAYMENT_KEY_LIFE_US + 1, false, &nothing),
                 RECONCILE_LEAVE);
    cr_expect_eq(reconcile_decide(PAYMENT_PROCESSING, HOURS(21), false, &nothing), RECONCILE_LEAVE);
    cr_expect_eq(reconcile_decide(PAYMENT_PROCESSING, HOURS(21) + 1, false, &nothing),
                 RECONCILE_FAIL);
    cr_expect_eq(reconcile_decide(PAYMENT_UNKNOWN, HOURS(1), false, &nothing), RECONCILE_LEAVE);
    cr_expect_eq(reconcile_decide(PAYMENT_UNKNOWN, HOURS(22), false, &nothing), RECONCILE_FAIL);
    /* Never sent: it may be, until it is too old. */
    cr_expect_eq(reconcile_decide(PAYMENT_PENDING, -1, false, &nothing), RECONCILE_SEND_AGAIN);
    cr_expect_eq(reconcile_decide(PAYMENT_PENDING, -1, false, &old), RECONCILE_FAIL);
    /* Somebody stopped it on purpose. */
    cr_expect_eq(reconcile_decide(PAYMENT_PROCESSING, HOURS(1), false, &revoked), RECONCILE_LEAVE);
    cr_expect_eq(reconcile_decide(PAYMENT_PENDING, -1, false, &revoked), RECONCILE_LEAVE);
    cr_expect_eq(reconcile_decide(PAYMENT_PROCESSING, HOURS(22), false, &revoked), RECONCILE_FAIL);
}
