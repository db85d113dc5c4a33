/* SPDX-License-Identifier: MIT
 *
 * Bodies of webhooks whose signature was good: any JSON is an event of ours, whole and within its
 * limits, or none.
 */
#include "tests/fuzz/target.h"

#include "api/http.h"
#include "api/webhook_event.h"
#include "common/auto.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/text.h"

static void webhook_check_text(const char *text) { MUST(text && text_is_utf8(text, strlen(text))); }

static void webhook_check_kind(const struct gateway_event *event)
{
    bool is_refund = strcmp(event->type, "charge.refunded") == 0 ||
                     strcmp(event->type, "charge.refund.updated") == 0 ||
                     strncmp(event->type, "refund.", strlen("refund.")) == 0;
    bool is_success = strcmp(event->type, "payment_intent.succeeded") == 0;

    MUST(is_refund ==
         (event->kind == GATEWAY_EVENT_REFUNDED || event->kind == GATEWAY_EVENT_REFUND_FAILED));
    MUST(is_success == (event->kind == GATEWAY_EVENT_SUCCEEDED));
    MUST(is_refund || strncmp(event->type, "payment_intent.", strlen("payment_intent.")) == 0);
}

FUZZ_TARGET(webhook, text, size)
{
    AUTO(json_decref) json_t *body = NULL;
    AUTO(json_decref) json_t *before = NULL;
    struct gateway_event event;

    if (json_read(text, size, HTTP_BODY_MAX, &body, NULL))
        return;
    before = json_deep_copy(body);
    if (webhook_event_read(body, &event)) {
        webhook_check_kind(&event);
        MUST(*event.id && strlen(event.id) <= WEBHOOK_EVENT_ID_MAX);
        MUST(event.created_us >= 0 && event.created_us <= INT32_MAX * US_PER_S);
        webhook_check_text(event.id);
        webhook_check_text(event.payment);
        webhook_check_text(event.intent);
        webhook_check_text(event.currency);
        webhook_check_text(event.code);
        webhook_check_text(event.message);
    }
    MUST(json_equal(before, body));
}
