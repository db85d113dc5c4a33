/* SPDX-License-Identifier: MIT
 *
 * An event of the gateway as its webhook carries it. Whoever signed it may still have sent any
 * JSON: what is missing or of another type is "", an amount -1. Pure.
 */
#ifndef API_WEBHOOK_EVENT_H
#define API_WEBHOOK_EVENT_H

#include <stdbool.h>

#include <jansson.h>

#include "common/gateway_events.h"

enum { WEBHOOK_EVENT_ID_MAX = 255 }; /* bytes */

/* False: it is no event that could be one of ours. The texts of the event are the body's. */
bool webhook_event_read(const json_t *body, struct gateway_event *ret_event);

#endif
