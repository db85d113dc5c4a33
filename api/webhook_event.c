/* SPDX-License-Identifier: MIT
 *
 * Reading events of the gateway; see webhook_event.h.
 */
#include "api/webhook_event.h"

#include <string.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/json.h"

static const struct {
    const char *type;
    enum gateway_event_kind kind;
} kinds[] = {
    {"payment_intent.succeeded", GATEWAY_EVENT_SUCCEEDED},
    {"payment_intent.payment_failed", GATEWAY_EVENT_FAILED},
    {"payment_intent.canceled", GATEWAY_EVENT_FAILED},
    {"charge.refunded", GATEWAY_EVENT_REFUNDED},
    /* About one refund; its status says what became of it. */
    {"refund.created", GATEWAY_EVENT_REFUNDED},
    {"refund.updated", GATEWAY_EVENT_REFUNDED},
    {"refund.failed", GATEWAY_EVENT_REFUNDED},
    {"charge.refund.updated", GATEWAY_EVENT_REFUNDED},
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_member_text(object, key);

    return text ? text : "";
}

static int64_t amount_of(const json_t *object, const char *key)
{
    const json_t *amount = json_object_get(object, key);

    return json_is_integer(amount) ? json_integer_value(amount) : -1;
}

/* "Pending" is a refund that the gateway has taken the order for: a bank takes days over it. */
static bool read_refund(const json_t *refund, struct gateway_event *event)
{
    const char *status = text_of(refund, "status");

    event->intent = text_of(refund, "payment_intent");
    event->amount = amount_of(refund, "amount");
    event->code = text_of(refund, "failure_reason");
    if (strcmp(status, "failed") == 0 || strcmp(status, "canceled") == 0)
        event->kind = GATEWAY_EVENT_REFUND_FAILED;
    else if (strcmp(status, "succeeded") != 0 && strcmp(status, "pending") != 0)
        return false;
    return true;
}

/* A hold that was let go is called refunded, too, though nothing was ever paid. */
static bool read_charge(const json_t *charge, struct gateway_event *event)
{
    event->intent = text_of(charge, "payment_intent");
    event->amount = amount_of(charge, "amount_refunded");
    return !json_is_false(json_object_get(charge, "captured"));
}

/* Why, in the word that the worker takes from the gateway's own answer (gateway.c). */
static bool read_intent(const json_t *intent, struct gateway_event *event)
{
    const json_t *error = json_object_get(intent, "last_payment_error");

    event->intent = text_of(intent, "id");
    event->amount = amount_of(intent, "amount_received");
    event->code = text_of(error, "decline_code");
    event->message = text_of(error, "message");
    if (!*event->code)
        event->code = text_of(error, "code");
    if (!*event->code)
        event->code = text_of(intent, "status");
    return true;
}

static bool read_object(const json_t *object, struct gateway_event *event)
{
    event->payment = text_of(json_object_get(object, "metadata"), "payment_id");
    event->currency = text_of(object, "currency");
    if (event->kind != GATEWAY_EVENT_REFUNDED)
        return read_intent(object, event);
    return strcmp(event->type, "charge.refunded") == 0 ? read_charge(object, event)
                                                       : read_refund(object, event);
}

bool webhook_event_read(const json_t *body, struct gateway_event *ret_event)
{
    const json_t *object = json_object_get(json_object_get(body, "data"), "object");
    const json_t *created = json_object_get(body, "created");
    struct gateway_event event = {
        .id = text_of(body, "id"), .type = text_of(body, "type"), .code = "", .message = ""};
    size_t i = 0;

    while (i < COUNT_OF(kinds) && strcmp(kinds[i].type, event.type) != 0)
        i++;
    if (i == COUNT_OF(kinds) || !json_is_object(object) || !*event.id ||
        strlen(event.id) > WEBHOOK_EVENT_ID_MAX || !json_is_integer(created) ||
        json_integer_value(created) < 0 || json_integer_value(created) > INT32_MAX)
        return false;
    event.kind = kinds[i].kind;
    event.created_us = json_integer_value(created) * US_PER_S;
    if (!read_object(object, &event))
        return false;
    *ret_event = event;
    return true;
}
