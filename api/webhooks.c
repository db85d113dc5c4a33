/* SPDX-License-Identifier: MIT
 *
 * /api/webhooks/stripe/: what the gateway tells us on its own. The body is not looked at before its
 * signature is good. What is no concern of ours is thanked for, since anything but 2xx is sent
 * again for days.
 */
#include <string.h>

#include "api/api.h"
#include "api/signature.h"
#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/gateway_events.h"
#include "common/json.h"
#include "common/log.h"

enum { EVENT_ID_MAX = 255, EVENT_TRIES = 2 };

static const struct {
    const char *type;
    enum gateway_event_kind kind;
} kinds[] = {
    {"payment_intent.succeeded", GATEWAY_EVENT_SUCCEEDED},
    {"payment_intent.payment_failed", GATEWAY_EVENT_FAILED},
    {"payment_intent.canceled", GATEWAY_EVENT_FAILED},
    {"charge.refunded", GATEWAY_EVENT_REFUNDED},
};

/* False: the reply says what is wrong. */
static bool is_signed(const struct request *req, struct reply *reply)
{
    static const char *const texts[] = {
        [SIGNATURE_GOOD] = "",
        [SIGNATURE_MISSING] = "The header Stripe-Signature is missing.",
        [SIGNATURE_MALFORMED] = "The header Stripe-Signature has no time or no v1 signature.",
        [SIGNATURE_STALE] = "The signature is more than 300 seconds away from now.",
        [SIGNATURE_WRONG] = "No signature is that of this body.",
    };
    const char *secret = api_of(req)->conf->gateway_webhook_secret;
    enum signature_verdict verdict;

    if (!*secret) {
        reply_detail(reply, 503, "Webhooks are not set up here: GATEWAY_WEBHOOK_SECRET is empty.");
        reply_header(reply, "Retry-After", "3600");
        return false;
    }
    verdict = signature_check(request_header(req, "Stripe-Signature"), secret, req->body,
                              req->body_len, clock_wall_us());
    if (verdict == SIGNATURE_GOOD)
        return true;
    reply_detail(reply, 400, texts[verdict]);
    log_warn("webhook_refused", L_STR("reason", texts[verdict]));
    return false;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_member_text(object, key);

    return text ? text : "";
}

static int64_t amount_of(const json_t *object, enum gateway_event_kind kind)
{
    const json_t *amount = json_object_get(
        object, kind == GATEWAY_EVENT_REFUNDED ? "amount_refunded" : "amount_received");

    return json_is_integer(amount) ? json_integer_value(amount) : -1;
}

/* Reads the event. False: it is no event that could be one of ours. */
static bool read_event(const json_t *body, struct gateway_event *ret_event)
{
    const json_t *object = json_object_get(json_object_get(body, "data"), "object");
    const json_t *created = json_object_get(body, "created");
    struct gateway_event event = {.id = text_of(body, "id"), .type = text_of(body, "type")};
    size_t i = 0;

    while (i < COUNT_OF(kinds) && strcmp(kinds[i].type, event.type) != 0)
        i++;
    if (i == COUNT_OF(kinds) || !json_is_object(object) || !*event.id ||
        strlen(event.id) > EVENT_ID_MAX || !json_is_integer(created) ||
        json_integer_value(created) < 0 || json_integer_value(created) > INT32_MAX)
        return false;
    event.kind = kinds[i].kind;
    event.created_us = json_integer_value(created) * US_PER_S;
    event.payment = text_of(json_object_get(object, "metadata"), "payment_id");
    event.intent = text_of(object, event.kind == GATEWAY_EVENT_REFUNDED ? "payment_intent" : "id");
    event.amount = amount_of(object, event.kind);
    event.currency = text_of(object, "currency");
    event.code = text_of(json_object_get(object, "last_payment_error"), "code");
    *ret_event = event;
    return true;
}

static void tell(const struct gateway_event *event, const struct gateway_effect *effect)
{
    static const char *const names[] = {
        [GATEWAY_EFFECT_REPEATED] = "repeated",
        [GATEWAY_EFFECT_IGNORED] = "ignored",
        [GATEWAY_EFFECT_APPLIED] = "applied",
        [GATEWAY_EFFECT_REFUSED] = "refused",
    };

    /* A charge that our payment knows nothing of is somebody's money. */
    if (effect->kind == GATEWAY_EFFECT_REFUSED)
        log_error("webhook_contradicts", L_STR("gateway_event", event->id),
                  L_STR("type", event->type), L_STR("payment_id", event->payment));
    else
        log_info("webhook", L_STR("gateway_event", event->id), L_STR("type", event->type),
                 L_STR("outcome", names[effect->kind]));
}

static enum err_code thank(struct reply *reply, struct err *e)
{
    return reply_json(reply, 200, json_pack("{s:b}", "received", 1), e);
}

enum err_code webhooks_stripe(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *body = NULL;
    struct gateway_event event;
    struct gateway_effect effect = {0};
    struct err failure = {0};
    enum err_code rc = ERR_UNAVAILABLE;

    if (!is_signed(req, reply))
        return ERR_OK;
    rc = json_read(req->body, req->body_len, HTTP_BODY_MAX, &body, e);
    if (rc)
        return rc;
    if (!read_event(body, &event))
        return thank(reply, e);
    rc = ERR_UNAVAILABLE;
    CRASH_POINT("webhook.read");
    for (int i = 0; i < EVENT_TRIES && rc == ERR_UNAVAILABLE; i++) {
        err_clear(&failure);
        rc = gateway_events_take(api_db(req), &event, &effect, &failure);
    }
    if (rc)
        return err_set_detail(e, rc, failure.detail, "%s", failure.text);
    CRASH_POINT("webhook.committed");
    if (effect.has_job)
        api_push(req, &effect.job);
    tell(&event, &effect);
    return thank(reply, e);
}
