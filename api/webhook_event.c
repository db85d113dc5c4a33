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
};

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

bool webhook_event_read(const json_t *body, struct gateway_event *ret_event)
{
    const json_t *object = json_object_get(json_object_get(body, "data"), "object");
    const json_t *created = json_object_get(body, "created");
    struct gateway_event event = {.id = text_of(body, "id"), .type = text_of(body, "type")};
    size_t i = 0;

    while (i < COUNT_OF(kinds) && strcmp(kinds[i].type, event.type) != 0)
        i++;
    if (i == COUNT_OF(kinds) || !json_is_object(object) || !*event.id ||
        strlen(event.id) > WEBHOOK_EVENT_ID_MAX || !json_is_integer(created) ||
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
