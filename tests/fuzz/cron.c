/* SPDX-License-Identifier: MIT
 *
 * Cron expressions: what is refused writes nothing; what is read comes later than any time, at a
 * time that its own bits match or at the end of a gap, and can be told in words.
 */
#include "tests/fuzz/target.h"

#include "common/cron.h"

static void check_times(const struct cron *cron, const struct zone *zone, int64_t from)
{
    for (int i = 0; i < 20; i++) {
        struct zone_span span;
        int64_t at = 0;

        if (!cron_next(cron, zone, from, &at))
            return;
        MUST(at > from);
        span = zone_span_at(zone, at);
        MUST(cron->every_s || cron_matches(cron, at + span.offset) || at == span.start);
        from = at;
    }
}

FUZZ_TARGET(cron, text, size)
{
    static struct zone zones[2];
    struct cron cron = {.every_s = 42};
    char words[CRON_DESCRIPTION_SIZE];

    (void)size;
    if (!*zones[0].name) {
        MUST(!zone_read("UTC", &zones[0], NULL));
        /* Without the system's zoneinfo, UTC will do. */
        if (zone_read("Australia/Lord_Howe", &zones[1], NULL))
            zones[1] = zones[0];
    }
    if (cron_parse(text, &cron, NULL)) {
        MUST(cron.every_s == 42);
        return;
    }
    cron_describe(&cron, words);
    MUST(*words);
    for (int i = 0; i < 2; i++) {
        check_times(&cron, &zones[i], INT64_C(1712415600)); /* 2024-04-06T15:00:00Z */
        check_times(&cron, &zones[i], INT64_C(1728140400)); /* 2024-10-05T15:00:00Z */
    }
}
