/* SPDX-License-Identifier: MIT
 *
 * The states of a payment, its legal moves, and what an answer of the gateway means for it: the
 * decisions about money, without any I/O. The moves stand again in sql/0049_judged_once.sql.
 */
#ifndef COMMON_PAYMENT_H
#define COMMON_PAYMENT_H

#include <stdbool.h>
#include <stdint.h>

#define PAYMENT_STATES(X)                                                                          \
    X(PENDING, "pending")       /* never sent to the gateway */                                    \
    X(PROCESSING, "processing") /* sent, or about to be */                                         \
    X(SUCCEEDED, "succeeded")                                                                      \
    X(FAILED, "failed")   /* declined: nothing was charged */                                      \
    X(UNKNOWN, "unknown") /* may have been charged; only looking it up may settle it */            \
    X(REFUNDED, "refunded")

enum payment_state {
#define X(name, text) PAYMENT_##name,
    PAYMENT_STATES(X)
#undef X
};

enum { PAYMENT_STATE_COUNT = PAYMENT_REFUNDED + 1 };

#define TASK_PROCESS_PAYMENT "payments.tasks.process_payment"
#define TASK_REFUND_PAYMENT "payments.tasks.refund_payment"
#define TASK_SEND_CONFIRMATION "payments.tasks.send_order_confirmation_email"
#define QUEUE_PAYMENTS "payments"
#define QUEUE_MAIL "mail"
/* With the default backoff (2 s doubling to 1 h) this many attempts last about 20 hours. */
enum { PAYMENT_MAX_ATTEMPTS = 30, CONFIRMATION_MAX_ATTEMPTS = 20 };

/* Stripe may forget an idempotency key after 24 h (its API reference, "Idempotent requests"). Past
 * this age a payment is looked up at the gateway, never sent again. */
#define PAYMENT_KEY_LIFE_US (INT64_C(20) * 3600 * 1000000)

const char *payment_state_name(enum payment_state state);
bool payment_state_parse(const char *name, enum payment_state *ret_state);
bool payment_may_become(enum payment_state from, enum payment_state to);

/* What the gateway said about one charge, already read from its answer. */
enum gateway_outcome {
    GATEWAY_SUCCEEDED, /* charged: amount, currency and our reference agree */
    GATEWAY_DECLINED,  /* not charged: not this amount with this token */
    GATEWAY_RETRY,     /* no answer, or one that does not tell: the same key again, later */
    GATEWAY_REFUSED,   /* not charged; our request is wrong and stays wrong */
    GATEWAY_MISMATCH,  /* charged, but not what we asked for: people must look */
};

/* The facts of an HTTP exchange that decide the outcome. */
struct gateway_answer {
    bool arrived;              /* a complete HTTP answer came */
    long status;               /* HTTP status; 0 when none arrived */
    bool should_retry;         /* Stripe-Should-Retry: true */
    bool is_readable;          /* the body was a JSON object of the kind asked for */
    bool matches;              /* amount, currency and our reference are those sent */
    const char *intent_status; /* status of the payment intent, or "" */
    const char *error_type;    /* "card_error", ... or "" */
    const char *error_param;   /* the parameter that was refused, or "" */
    const char *error_code;    /* "amount_too_small", ... or "" */
};

/* The table of reliability: what may be retried and what must not. Pure. */
enum gateway_outcome payment_judge(const struct gateway_answer *answer);

#endif
