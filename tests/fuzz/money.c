/* SPDX-License-Identifier: MIT
 *
 * Money: what is read lies within numeric(12,2) and is written as the same amount.
 */
#include "tests/fuzz/target.h"

#include "common/money.h"

FUZZ_TARGET(money, text, size)
{
    int64_t minor = 42;
    int64_t again = 0;
    char written[MONEY_TEXT_SIZE];

    (void)size;
    if (!money_parse(text, &minor)) {
        MUST(minor == 42);
        return;
    }
    MUST(minor >= -MONEY_MAX && minor <= MONEY_MAX);
    money_format(minor, written);
    MUST(money_parse(written, &again));
    MUST(again == minor);
}
