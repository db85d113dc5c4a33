/* SPDX-License-Identifier: MIT
 *
 * What the gateway tells us by webhooks, once its signature is good: each event takes effect at
 * most once, whatever its order, and only as far as it agrees with our own payment.
 */
#ifndef COMMON_GATEWAY_EVENTS_H
#define COMMON_GATEWAY_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/jobs.h"

enum gateway_event_kind {
    GATEWAY_EVENT_SUCCEEDED,
    GATEWAY_EVENT_FAILED,        /* declined or cancelled: nothing was charged */
    GATEWAY_EVENT_REFUNDED,      /* given back, or on its way */
    GATEWAY_EVENT_REFUND_FAILED, /* it was on its way, and came back to the shop */
};

/* All texts are borrowed. */
struct gateway_event {
    enum gateway_event_kind kind;
    const char *id;      /* "evt_..." */
    const char *type;    /* "payment_intent.succeeded" */
    int64_t created_us;  /* the gateway's time */
    const char *payment; /* our payment's id as the gateway kept it, or "" */
    const char *intent;  /* "pi_..." */
    int64_t amount;      /* that was charged, or given back; minor units */
    const char *currency;
    const char *code;    /* FAILED, REFUND_FAILED: why, or "" */
    const char *message; /* FAILED: the same for people, or "" */
};

struct gateway_effect {
    enum {
        GATEWAY_EFFECT_REPEATED, /* known since an earlier delivery */
        GATEWAY_EFFECT_IGNORED,  /* not ours, or nothing left to do */
        GATEWAY_EFFECT_APPLIED,
        GATEWAY_EFFECT_REFUSED, /* it contradicts our payment: people must look */
    } kind;
    bool has_job;
    struct job_ready job; /* to be pushed after the commit */
};

/* In a transaction of its own. */
enum err_code gateway_events_take(struct db *db, const struct gateway_event *event,
                                  struct gateway_effect *ret_effect, struct err *e) MUST_CHECK;

/* Deletes at most `max` events that came longer than `kept_s` ago, which the gateway does not send
 * again; ret_count: how many. */
enum err_code gateway_events_prune(struct db *db, int64_t kept_s, int max, int64_t *ret_count,
                                   struct err *e) MUST_CHECK;

#endif
