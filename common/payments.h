/* SPDX-License-Identifier: MIT
 *
 * Payments as the shop's customers see them: starting one and reading them. What workers do with
 * them stands in payments_run.h; the states and moves in payment.h.
 */
#ifndef COMMON_PAYMENTS_H
#define COMMON_PAYMENTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/jobs.h"
#include "common/uuid.h"

enum { PAYMENT_TOKEN_MAX = 203 };

extern const char *const payment_methods[]; /* ends with NULL */

/* "pm_" and 1 to 200 letters, digits or '_': what the gateway gives for a card. */
bool payment_token_is_good(const char *text);

/* All texts are owned; payment_release() frees them. */
struct payment {
    struct uuid id;
    int64_t order_id;
    char *method;
    char *status;
    int64_t amount;     /* minor units */
    char *reference;    /* the gateway's, or "" */
    char *failure_code; /* or NULL */
    char *created_at;   /* as clock_format() writes it */
    char *updated_at;
    char *paid_at; /* or NULL */
};

void payment_release(struct payment *payment);

struct payment_new {
    int64_t user_id;
    int64_t order_id;
    const char *method;
    const char *token;
    const char *traceparent; /* of whoever pays; NULL: none */
};

/* Why a payment was not started. */
enum payment_refusal {
    PAYMENT_REFUSED_PAID, /* the order is paid (or was, and is refunded) */
    PAYMENT_REFUSED_CANCELLED,
    PAYMENT_REFUSED_EXPIRED,
    PAYMENT_REFUSED_IN_PROGRESS /* another payment of the order is alive */
};

/* In the caller's transaction: locks the order, puts the payment in, opens the order again if its
 * last payment failed, and inserts the job that will charge it; the caller pushes *ret_job after
 * its commit. ERR_NOT_FOUND: no such order, or another's. ERR_CONFLICT with *ret_refusal. */
enum err_code payments_start(struct db *db, const struct payment_new *new_payment,
                             struct payment *ret_payment, struct job_ready *ret_job,
                             enum payment_refusal *ret_refusal, struct err *e) MUST_CHECK;

/* In the caller's transaction: inserts the job that sends the confirmation of a paid order. */
enum err_code payments_add_confirmation(struct db *db, int64_t order_id, struct job_ready *ret_job,
                                        struct err *e) MUST_CHECK;

/* In the caller's transaction: inserts the job that gives a payment back. */
enum err_code payments_add_refund(struct db *db, const struct uuid *payment,
                                  struct job_ready *ret_job, struct err *e) MUST_CHECK;

/* Of this user's orders; a list of them is payments_sql (common/shop.h). */
enum err_code payments_find(struct db *db, int64_t user_id, const struct uuid *id,
                            struct payment *ret_payment, struct err *e) MUST_CHECK;

#endif
