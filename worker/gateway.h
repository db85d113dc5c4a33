/* SPDX-License-Identifier: MIT
 *
 * The payment gateway over libcurl, speaking Stripe's API (docs.stripe.com/api, version 1). One a
 * thread. Every call is on a fresh connection: libcurl re-sends a POST without a word when a reused
 * one dies (reliability of the charge: one request on the wire a call), follows nothing, and ends
 * within its time limit. An answer is read into facts; payment_judge() decides what they mean.
 */
#ifndef WORKER_GATEWAY_H
#define WORKER_GATEWAY_H

#include <stdint.h>

#include <jansson.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/payment.h"
#include "common/payments_run.h"

struct gateway;

/* The facts of one exchange. The texts that `answer` points to stand in the same struct, so it is
 * passed by pointer and never copied. */
struct gateway_reply {
    struct gateway_answer answer;
    bool is_found;       /* gateway_find...() only: there is such an intent, or refund */
    char reference[128]; /* id of the payment intent, or "" */
    char intent_status[40];
    char error_type[40];
    char error_param[64];
    char code[64]; /* decline_code, else code, or "" */
    char message[256];
    char request_id[80];    /* for the log and the gateway's support */
    int64_t retry_after_us; /* Retry-After, at most an hour; 0: none */
    char transport[300];    /* why no answer arrived, or "" */
    const char *unsent;     /* what to do about it where nothing was sent at all; else NULL */
};

/* Which gateway, and as whom. */
struct gateway_place {
    const char *url;        /* GATEWAY_URL */
    const char *ca_file;    /* GATEWAY_CA_FILE: who may vouch for it; "": the machine's */
    const char *secret_key; /* GATEWAY_SECRET_KEY */
};

struct gateway_place gateway_place_of(const struct conf *conf);

/* Whether they can be used: the key goes over https://, or to this machine. */
enum err_code gateway_check(const struct gateway_place *place, struct err *e) MUST_CHECK;

/* Does not connect; `place` passed gateway_check(), and is copied. gateway_global_init() once
 * before the first thread. */
void gateway_global_init(void);
struct gateway *gateway_open(const struct gateway_place *place);
void gateway_close(struct gateway *gateway);

/* The trace that the calls from here on belong to, each as a span of its own; NULL: none. Copied.
 */
void gateway_set_trace(struct gateway *gateway, const char *traceparent);

/* Headers that the calls from here on carry besides: an object of job_headers_outgoing(), borrowed
 * until the next call of this; NULL: none. */
void gateway_set_headers(struct gateway *gateway, const json_t *headers);

/* POST /v1/payment_intents with confirm=true under the payment's key. */
void gateway_charge(struct gateway *gateway, const struct charge *charge, int64_t timeout_us,
                    struct gateway_reply *reply);

/* Looks the payment up by its id in the intent's metadata; charges nothing. */
void gateway_find(struct gateway *gateway, const struct charge *charge, int64_t timeout_us,
                  struct gateway_reply *reply);

/* POST /v1/refunds of the whole payment under its refund key. */
void gateway_refund(struct gateway *gateway, const struct charge *charge, int64_t timeout_us,
                    struct gateway_reply *reply);

/* Whether the whole payment was given back, in however many refunds. */
void gateway_find_refund(struct gateway *gateway, const struct charge *charge, int64_t timeout_us,
                         struct gateway_reply *reply);

#endif
