/* SPDX-License-Identifier: MIT
 *
 * Finding card data in what a client sent: it must not get any further. Pure.
 */
#ifndef API_CARD_H
#define API_CARD_H

#include <stdbool.h>

#include <jansson.h>

/* A card number, unless the whole text is a UUID. */
bool card_is_in_text(const char *text);

/* Whether a name is one under which card data is sent: "card_number", "cvc", ... */
bool card_is_field(const char *name);

/* In any name, text or number of the value, however deep. */
bool card_is_in_json(const json_t *value);

#endif
