/* SPDX-License-Identifier: MIT
 *
 * Times: what is read can be written and read again; what is refused writes nothing.
 */
#include "tests/fuzz/target.h"

#include "common/clock.h"

FUZZ_TARGET(clock, text, size)
{
    int64_t us = 42;
    int64_t again = 0;
    char written[CLOCK_TEXT_SIZE];

    (void)size;
    if (!clock_parse(text, &us)) {
        MUST(us == 42);
        return;
    }
    clock_format(us, written);
    MUST(clock_parse(written, &again));
    MUST(again == us);
}
