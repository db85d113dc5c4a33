/* SPDX-License-Identifier: MIT
 *
 * Bounded, strict JSON; see json.h. jansson's own depth limit is 2048; ours is checked on the text
 * before it parses, so hostile nesting costs one pass and no allocation.
 */
#include "common/json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

static bool is_too_deep(const char *text, size_t len)
{
    bool in_string = false;
    int depth = 0;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH_MAX)
                return true;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return false;
}

/* jansson ends its texts with what it met: "... near 'hunter2'". That is the client's, and may be a
 * password or a card number: it goes into no answer and no log. */
static size_t length_without_quote(const char *text)
{
    const char *quote = strstr(text, " near '");

    return quote ? (size_t)(quote - text) : strlen(text);
}

enum err_code json_read(const char *text, size_t len, size_t max, json_t **ret_value, struct err *e)
{
    json_error_t error;
    json_t *value;

    if (len == 2 && max >= 2 && (memcmp(text, "[]", 2) == 0 || memcmp(text, "{}", 2) == 0)) {
        *ret_value = *text == '[' ? json_array() : json_object(); /* what most jobs have */
        return *ret_value ? ERR_OK : err_set(e, ERR_NOMEM, "out of memory");
    }
    if (len > max)
        return err_set(e, ERR_INVALID, "JSON of %zu bytes exceeds the limit of %zu", len, max);
    if (is_too_deep(text, len))
        return err_set(e, ERR_INVALID, "JSON is nested deeper than %d levels", JSON_DEPTH_MAX);
    value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!value && text_has_mark(text, len))
        return err_set(e, ERR_INVALID,
                       "JSON begins with a byte order mark: save it as UTF-8 without one");
    if (!value)
        return err_set(e, ERR_INVALID, "%.*s: line %d column %d (char %d)",
                       (int)length_without_quote(error.text), error.text, error.line, error.column,
                       error.position);
    *ret_value = value;
    return ERR_OK;
}

/* Steps over one number: how many digits it has behind the point once its exponent is applied. */
static const char *skip_number(const char *c, long *ret_places)
{
    long exponent = 0;

    *ret_places = 0;
    while (isdigit((unsigned char)*c) || *c == '-')
        c++;
    if (*c == '.')
        for (c++; isdigit((unsigned char)*c); c++)
            (*ret_places)++;
    if (*c == 'e' || *c == 'E') {
        char *end;

        exponent = strtol(c + 1, &end, 10); /* the largest or smallest one for what is beyond */
        c = end;
    }
    if (exponent < -JSON_PLACES_MAX || exponent > JSON_PLACES_MAX)
        *ret_places = JSON_PLACES_MAX + 1; /* of a nought alone, when it is large */
    else if (exponent < 0)
        *ret_places -= exponent;
    return c;
}

bool json_is_too_fine(const char *text)
{
    bool in_string = false;

    for (const char *c = text; *c;) {
        long places;

        if (in_string || (!isdigit((unsigned char)*c) && *c != '-')) {
            if (in_string && *c == '\\')
                c++; /* what follows is there: the text is JSON */
            else if (*c == '"')
                in_string = !in_string;
            c++;
            continue;
        }
        c = skip_number(c, &places);
        if (places > JSON_PLACES_MAX)
            return true;
    }
    return false;
}

char *json_write(const json_t *value)
{
    return json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
}

const char *json_member_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}
