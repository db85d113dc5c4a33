/* SPDX-License-Identifier: MIT
 *
 * /api/webhooks/stripe/: what the gateway tells us on its own. The body is not looked at before its
 * signature is good. What is no concern of ours is thanked for, since anything but 2xx is sent
 * again for days.
 */
#include <string.h>

#include "api/api.h"
#include "api/signature.h"
#include "api/webhook_event.h"
#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/json.h"
#include "common/log.h"

enum { EVENT_TRIES = 2 };

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
                  L_STR("type", event->type), L_STR("payment_id", event->payment),
                  L_STR("reason", event->code));
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
    if (!webhook_event_read(body, &event))
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
