/* SPDX-License-Identifier: MIT
 *
 * Money is an integer of minor units (cents). Texts are decimal strings with two places, as
 * PostgreSQL's numeric(12,2) and Django REST framework write them. No floating point anywhere.
 */
#ifndef COMMON_MONEY_H
#define COMMON_MONEY_H

#include <stdbool.h>
#include <stdint.h>

enum { MONEY_TEXT_SIZE = 24 };

#define MONEY_MAX INT64_C(999999999999) /* numeric(12,2): 9999999999.99 */

/* "12000.99", "12000", "-3.5" give minor units. False: no number, over two places, out of range. */
bool money_parse(const char *text, int64_t *ret_minor);

void money_format(int64_t minor, char out[MONEY_TEXT_SIZE]);

/* price * quantity + total, or false when it leaves the range. All three are >= 0. */
bool money_add_line(int64_t price, int64_t quantity, int64_t *total);

#endif
