/* SPDX-License-Identifier: MIT
 *
 * Decimal text to minor units and back; see money.h.
 */
#include "common/money.h"

#include <inttypes.h>
#include <stdio.h>

bool money_parse(const char *text, int64_t *ret_minor)
{
    bool negative = *text == '-';
    const char *p = text + negative;
    int64_t value = 0;
    int places = -1; /* digits seen after the point; -1 before it */

    if (*p < '0' || *p > '9')
        return false;
    for (; *p; p++) {
        if (*p == '.' && places < 0) {
            places = 0;
            continue;
        }
        if (*p < '0' || *p > '9' || places == 2)
            return false;
        value = value * 10 + (*p - '0');
        if (places >= 0)
            places++;
        if (value > MONEY_MAX)
            return false;
    }
    if (places == 0)
        return false; /* "12." */
    for (int i = places < 0 ? 0 : places; i < 2; i++)
        value *= 10;
    if (value > MONEY_MAX)
        return false;
    *ret_minor = negative ? -value : value;
    return true;
}

void money_format(int64_t minor, char out[MONEY_TEXT_SIZE])
{
    uint64_t size = minor < 0 ? -(uint64_t)minor : (uint64_t)minor; /* INT64_MIN has no opposite */

    (void)snprintf(out, MONEY_TEXT_SIZE, "%s%" PRIu64 ".%02d", minor < 0 ? "-" : "", size / 100,
                   (int)(size % 100));
}

bool money_add_line(int64_t price, int64_t quantity, int64_t *total)
{
    int64_t line;
    int64_t sum;

    if (__builtin_mul_overflow(price, quantity, &line) ||
        __builtin_add_overflow(*total, line, &sum) || sum > MONEY_MAX)
        return false;
    *total = sum;
    return true;
}
