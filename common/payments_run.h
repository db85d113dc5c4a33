/* SPDX-License-Identifier: MIT
 *
 * What a worker does to payments and their orders, around the one call that cannot be rolled back:
 * begin (before the gateway is called), then one of succeed, decline, mark unknown, refund, inside
 * the transaction that ends the job. Every write is a compare-and-set of the status.
 */
#ifndef COMMON_PAYMENTS_RUN_H
#define COMMON_PAYMENTS_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/order.h"
#include "common/payment.h"
#include "common/uuid.h"

/* A payment as the gateway has to know it. */
struct charge {
    struct uuid payment;
    int64_t order_id;
    int64_t amount; /* minor units */
    char currency[4];
    char token[208]; /* pm_...: what the gateway gave the client for the card */
    struct uuid key; /* Idempotency-Key, the same for ever */
    struct uuid refund_key;
    char reference[128]; /* pi_..., or "" */
    enum payment_state state;
    enum order_state order_state;
    int64_t sent_age_us; /* since the gateway was first called; negative: never */
};

/* pending -> processing when its order can be paid, and what stands there then. ERR_NOT_FOUND. */
enum err_code payments_begin(struct db *db, const struct uuid *id, struct charge *ret_charge,
                             struct err *e) MUST_CHECK;

/* The same without a change. */
enum err_code payments_read(struct db *db, const struct uuid *id, struct charge *ret_charge,
                            struct err *e) MUST_CHECK;

/* What a success did to the order. */
enum order_effect {
    ORDER_EFFECT_PAID,   /* it is paid now: confirm it */
    ORDER_EFFECT_CLOSED, /* cancelled or expired meanwhile: refund the payment */
    ORDER_EFFECT_NONE,   /* the payment had succeeded before */
};

/* processing or unknown -> succeeded, and the order -> paid. ERR_CONFLICT: the payment failed. */
enum err_code payments_succeed(struct db *db, const struct uuid *id, const char *reference,
                               enum order_effect *ret_effect, struct err *e) MUST_CHECK;

/* pending, processing or unknown -> failed, and the order -> payment_failed while it waits. Does
 * nothing to a payment that has ended. */
enum err_code payments_decline(struct db *db, const struct uuid *id, const char *code,
                               const char *message, struct err *e) MUST_CHECK;

/* processing -> unknown: only looking it up at the gateway may settle it. */
enum err_code payments_mark_unknown(struct db *db, const struct uuid *id, struct err *e) MUST_CHECK;

/* succeeded -> refunded, and a paid order -> refunded, whose goods go back on the shelf. */
enum err_code payments_refunded(struct db *db, const struct uuid *id, struct err *e) MUST_CHECK;

#endif
