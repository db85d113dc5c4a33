/* SPDX-License-Identifier: MIT
 *
 * The decision about a payment without an answer; see reconcile.h. Nothing is sent under a key that
 * the gateway may have forgotten, and nothing is given up while a charge may still come to light.
 */
#include "common/reconcile.h"

enum reconcile reconcile_decide(enum payment_state state, int64_t sent_age_us, bool is_found,
                                const struct reconcile_history *history)
{
    bool was_sent = sent_age_us >= 0;
    int64_t age_us = was_sent ? sent_age_us : history->age_us;

    if (history->has_open_job)
        return RECONCILE_LEAVE;
    switch (state) {
    case PAYMENT_SUCCEEDED:
    case PAYMENT_FAILED:
    case PAYMENT_REFUNDED:
        return RECONCILE_LEAVE;
    case PAYMENT_PENDING:
    case PAYMENT_PROCESSING:
    case PAYMENT_UNKNOWN:
        break;
    }
    if (is_found)
        return RECONCILE_JUDGE;
    if (age_us > PAYMENT_KEY_LIFE_US + RECONCILE_MARGIN_US)
        return RECONCILE_FAIL;
    if (age_us > PAYMENT_KEY_LIFE_US || history->was_revoked || state == PAYMENT_UNKNOWN)
        return RECONCILE_LEAVE;
    return RECONCILE_SEND_AGAIN;
}
