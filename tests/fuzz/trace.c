/* SPDX-License-Identifier: MIT
 *
 * traceparent: what is read is written as version 00, and that is read as the same.
 */
#include "tests/fuzz/target.h"

#include "common/trace.h"

FUZZ_TARGET(trace, text, size)
{
    struct trace trace = {.id = "left"};
    struct trace again;
    char written[TRACE_TEXT_SIZE];
    char rewritten[TRACE_TEXT_SIZE];

    (void)size;
    if (!trace_parse(text, &trace)) {
        MUST(strcmp(trace.id, "left") == 0);
        return;
    }
    trace_format(&trace, written);
    MUST(strlen(written) == TRACE_TEXT_SIZE - 1 && strncmp(written, "00-", 3) == 0);
    MUST(strncmp(written + 3, text + 3, TRACE_TEXT_SIZE - 4) == 0);
    MUST(trace_parse(written, &again));
    trace_format(&again, rewritten);
    MUST(strcmp(written, rewritten) == 0);
}
