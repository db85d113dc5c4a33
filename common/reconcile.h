/* SPDX-License-Identifier: MIT
 *
 * What to do about a payment whose outcome nobody told us, once the gateway was asked for it. Pure.
 */
#ifndef COMMON_RECONCILE_H
#define COMMON_RECONCILE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/payment.h"

/* How long a charge may be hidden from the gateway's search after its last call could be made. */
#define RECONCILE_MARGIN_US INT64_C(3600000000)

struct reconcile_history {
    bool has_open_job; /* one that charges or looks up is not finished */
    bool was_revoked;  /* somebody stopped the one that charges */
    int64_t age_us;    /* of the payment */
};

enum reconcile {
    RECONCILE_LEAVE,      /* nothing yet */
    RECONCILE_JUDGE,      /* what was found decides: payment_judge() */
    RECONCILE_SEND_AGAIN, /* by the task that charges, under the stored key */
    RECONCILE_FAIL,       /* it was never charged, and never will be */
};

/* `sent_age_us`: since the gateway was first called, negative when it never was. `is_found`: the
 * gateway has a charge of this payment. */
enum reconcile reconcile_decide(enum payment_state state, int64_t sent_age_us, bool is_found,
                                const struct reconcile_history *history);

#endif
