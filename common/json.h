/* SPDX-License-Identifier: MIT
 *
 * Strict reading of JSON from outside with jansson: size and depth bounded, duplicate keys refused,
 * reals kept out of money by the caller's type checks. Values from json_read() are owned by the
 * caller: AUTO(json_decref) json_t *v.
 */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "common/auto.h"
#include "common/err.h"

enum {
    JSON_DEPTH_MAX = 32,
    JSON_PLACES_MAX = 16383, /* digits behind the point that PostgreSQL's numeric has */
};

AUTO_DEFINE(json_t *, json_decref);

/* ERR_INVALID with "line 1 column 11" in the text when it is not one JSON value. */
enum err_code json_read(const char *text, size_t len, size_t max, json_t **ret_value,
                        struct err *e) MUST_CHECK;

/* Whether JSON, as json_read() accepts it, has a number that PostgreSQL refuses in a jsonb. */
bool json_is_too_fine(const char *text);

/* Compact text with sorted keys, to be freed with mem_free(); NULL when out of memory. */
char *json_write(const json_t *value);

/* NULL when the member is absent or no string. Borrowed from `object`. */
const char *json_member_text(const json_t *object, const char *key);

#endif
