/* SPDX-License-Identifier: MIT
 *
 * The search for card data; see card.h. What counts as a card number stands in common/text.c.
 */
#include "api/card.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/auto.h"
#include "common/text.h"
#include "common/uuid.h"

bool card_is_in_text(const char *text)
{
    struct uuid unused;

    return text_has_card_number(text, strlen(text)) && !uuid_parse(text, &unused);
}

bool card_is_field(const char *name)
{
    static const char *const names[] = {
        "card_number", "card_cvc", "card_cvv", "card_expiry", "cardnumber", "cvc", "cvv", "pan",
    };

    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool is_in_object(const json_t *object)
{
    /* jansson's iterators do not change the object, but take it as if they did. */
    json_t *open = (json_t *)(uintptr_t)object;

    for (void *at = json_object_iter(open); at; at = json_object_iter_next(open, at)) {
        const char *name = json_object_iter_key(at);

        if (card_is_field(name) || card_is_in_text(name) ||
            card_is_in_json(json_object_iter_value(at)))
            return true;
    }
    return false;
}

static bool is_in_array(const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (card_is_in_json(json_array_get(array, i)))
            return true;
    return false;
}

bool card_is_in_json(const json_t *value)
{
    char number[400]; /* the longest double without its fraction has 309 digits */

    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return is_in_object(value);
    case JSON_ARRAY:
        return is_in_array(value);
    case JSON_STRING:
        return card_is_in_text(json_string_value(value));
    case JSON_INTEGER:
        (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return card_is_in_text(number);
    case JSON_REAL:
        (void)snprintf(number, sizeof number, "%.0f", json_real_value(value));
        return card_is_in_text(number);
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NULL:
        break;
    }
    return false;
}
