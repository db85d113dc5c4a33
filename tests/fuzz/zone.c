/* SPDX-License-Identifier: MIT
 *
 * Files of the zoneinfo: whatever they hold, time goes on. Spans follow each other without holes,
 * offsets stay within a day, and a cron expression in such a zone comes later than any time.
 */
#include "tests/fuzz/target.h"

#include "common/cron.h"

FUZZ_TARGET(zone, text, size)
{
    static struct zone zone;
    static const int64_t starts[] = {INT64_C(-3000000000), 0, INT64_C(1700000000),
                                     INT64_C(4000000000)};
    struct cron cron;

    if (zone_parse("Fuzz/Zone", (const unsigned char *)text, size, &zone, NULL))
        return;
    MUST(!cron_parse("30 2 * * *", &cron, NULL));
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        int64_t at = starts[i];

        for (int k = 0; k < 50; k++) {
            struct zone_span span = zone_span_at(&zone, at);

            MUST(span.start <= at && span.end > at);
            MUST(span.offset > -26 * 3600 && span.offset < 26 * 3600);
            if (span.end == INT64_MAX)
                break;
            at = span.end;
        }
        at = starts[i];
        for (int k = 0; k < 5; k++) {
            int64_t next = 0;

            if (!cron_next(&cron, &zone, at, &next))
                break;
            MUST(next > at);
            at = next;
        }
    }
}
