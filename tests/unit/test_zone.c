/* SPDX-License-Identifier: MIT
 *
 * Offsets of zones by the system's zoneinfo, and files that are damaged. All zones are compared
 * with another implementation in tests/integration/test_cron.py.
 */
#include "common/zone.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/clock.h"

static struct zone zone;

static int64_t seconds_of(const char *text)
{
    int64_t us = 0;

    cr_assert(clock_parse(text, &us), "%s", text);
    return us / US_PER_S;
}

static void need_zone(const char *name)
{
    struct err e = {0};

    cr_assert_eq(zone_read(name, &zone, &e), ERR_OK, "%s", e.text);
}

Test(zone_read, knows_offsets_before_between_and_after_the_listed_changes)
{
    static const struct {
        const char *zone;
        const char *at;
        const char *local;
    } cases[] = {
        {"UTC", "2026-11-21T12:00:00Z", "2026-11-21T12:00:00+00:00"},
        {"Etc/UTC", "2026-11-21T12:00:00Z", "2026-11-21T12:00:00+00:00"},
        {"Etc/GMT+5", "2026-11-21T12:00:00Z", "2026-11-21T07:00:00-05:00"},
        {"Asia/Kolkata", "2026-11-21T12:00:00Z", "2026-11-21T17:30:00+05:30"},
        {"Asia/Kathmandu", "2026-11-21T12:00:00Z", "2026-11-21T17:45:00+05:45"},
        {"Europe/Berlin", "2024-03-31T00:59:59Z", "2024-03-31T01:59:59+01:00"},
        {"Europe/Berlin", "2024-03-31T01:00:00Z", "2024-03-31T03:00:00+02:00"},
        {"Europe/Berlin", "2024-10-27T00:59:59Z", "2024-10-27T02:59:59+02:00"},
        {"Europe/Berlin", "2024-10-27T01:00:00Z", "2024-10-27T02:00:00+01:00"},
        {"Europe/Berlin", "2100-07-01T00:00:00Z", "2100-07-01T02:00:00+02:00"},
        {"Europe/Berlin", "9999-12-31T00:00:00Z", "9999-12-31T01:00:00+01:00"},
        {"America/New_York", "2099-03-08T06:59:59Z", "2099-03-08T01:59:59-05:00"},
        {"America/New_York", "2099-03-08T07:00:00Z", "2099-03-08T03:00:00-04:00"},
        {"Australia/Lord_Howe", "2090-04-01T14:59:59Z", "2090-04-02T01:59:59+11:00"},
        {"Australia/Lord_Howe", "2090-04-01T15:00:00Z", "2090-04-02T01:30:00+10:30"},
        {"Antarctica/Troll", "2050-07-01T00:00:00Z", "2050-07-01T02:00:00+02:00"},
        {"Pacific/Chatham", "2050-01-01T00:00:00Z", "2050-01-01T13:45:00+13:45"},
        {"Europe/Dublin", "2050-07-01T00:00:00Z", "2050-07-01T01:00:00+01:00"},
        {"America/Nuuk", "2050-07-01T00:00:00Z", "2050-06-30T23:00:00-01:00"},
        {"America/Caracas", "2016-05-01T06:59:59Z", "2016-05-01T02:29:59-04:30"},
        {"America/Caracas", "2016-05-01T07:00:00Z", "2016-05-01T03:00:00-04:00"},
        {"Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29T23:59:59-10:00"},
        {"Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31T00:00:00+14:00"},
        /* Local mean time has seconds; RFC 3339 has none. */
        {"Europe/Amsterdam", "1880-01-01T00:00:00Z", "1880-01-01T00:18:00+00:18"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[ZONE_TEXT_SIZE];

        need_zone(cases[i].zone);
        zone_format(&zone, seconds_of(cases[i].at), text);
        if (strcmp(cases[i].zone, "Europe/Amsterdam") != 0) /* a link to Brussels, or not */
            cr_expect_str_eq(text, cases[i].local, "%s at %s: %s", cases[i].zone, cases[i].at,
                             text);
        else
            cr_expect_eq(strlen(text), strlen(cases[i].local));
    }
}

/* A span knows the offset before it, and the next begins where it ends. */
Test(zone_span_at, spans_follow_each_other)
{
    static const char *const names[] = {"America/New_York", "Africa/Casablanca",
                                        "Asia/Gaza",        "Australia/Lord_Howe",
                                        "Europe/Dublin",    "America/Havana"};

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        int64_t at = seconds_of("1850-01-01T00:00:00Z");
        struct zone_span span;

        need_zone(names[i]);
        span = zone_span_at(&zone, at);
        cr_assert_eq(span.start, INT64_MIN);
        while (span.end < seconds_of("2200-01-01T00:00:00Z")) {
            struct zone_span next = zone_span_at(&zone, span.end);
            struct zone_span inside = zone_span_at(&zone, next.end - 1);

            cr_assert_eq(next.start, span.end, "%s", names[i]);
            cr_assert_eq(next.before, span.offset, "%s", names[i]);
            cr_assert_neq(next.offset, span.offset, "%s", names[i]);
            cr_assert_eq(inside.start, next.start, "%s", names[i]);
            cr_assert_eq(inside.end, next.end, "%s", names[i]);
            span = next;
        }
    }
}

Test(zone_read, refuses_what_is_no_name_of_a_zone)
{
    static const char *const bad[] = {
        "",
        "Europe/Atlantis",
        "europe/berlin2",
        "Europe",
        "Europe/",
        "/Europe/Berlin",
        "/etc/localtime",
        "../../../etc/passwd",
        "Europe/../Europe/Berlin",
        "Europe//Berlin",
        "./Europe/Berlin",
        "zone.tab",
        "tzdata.zi",
        "leapseconds",
        "localtime",
        "Europe/Berlin ",
        " UTC",
        "UTC\n",
        "Europe\\Berlin",
        "Europe/Berlin\x01",
        "right/Europe/Berlin",
        "EST5EDT,M3.2.0,M11.1.0",
        "\xc3\xa9",
    };

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err e = {0};

        cr_expect_eq(zone_read(bad[i], &zone, &e), ERR_INVALID, "\"%s\" was read", bad[i]);
        cr_expect(strstr(e.text, "time zone"), "%s", e.text);
        for (const char *p = e.text; *p; p++)
            cr_expect(*p >= ' ' && *p <= '~', "a message with byte %d", *p);
    }
}

/* ---- files ---- */

/* Two types (+0 and +1 h) and one change, in both blocks. */
static size_t make_file(unsigned char *out, const char *footer)
{
    static const unsigned char head[44] = {'T', 'Z', 'i', 'f', '2', [35] = 1, [39] = 1, [43] = 4};
    static const unsigned char old[6 + 4 + 5] = {0};
    size_t len = 0;

    memcpy(out, head, sizeof head);
    len = sizeof head;
    memcpy(out + len, old, sizeof old);
    len += sizeof old;
    memcpy(out + len, head, sizeof head);
    out[len + 39] = 2;
    len += sizeof head;
    memset(out + len, 0, 8 + 1 + 12 + 4);
    out[len + 5] = 1;                 /* the change, 65536 */
    out[len + 8] = 1;                 /* to type 1 */
    out[len + 9 + 6 + 2] = 3600 >> 8; /* whose offset is an hour */
    out[len + 9 + 6 + 3] = 3600 & 0xff;
    len += 8 + 1 + 12 + 4;
    return len + (size_t)snprintf((char *)out + len, 200, "\n%s\n", footer);
}

Test(zone_parse, reads_what_a_file_says)
{
    unsigned char file[512];
    size_t len = make_file(file, "XST-1");
    struct err e = {0};

    cr_assert_eq(zone_parse("Test", file, len, &zone, &e), ERR_OK, "%s", e.text);
    cr_assert_eq(zone_span_at(&zone, 65535).offset, 0);
    cr_assert_eq(zone_span_at(&zone, 65535).end, 65536);
    cr_assert_eq(zone_span_at(&zone, 65536).offset, 3600);
    cr_assert_eq(zone_span_at(&zone, INT64_C(9999999999)).offset, 3600);
}

Test(zone_parse, reads_every_kind_of_closing_rule)
{
    static const struct {
        const char *rule;
        const char *at;
        int32_t offset;
    } cases[] = {
        {"", "2026-07-01T00:00:00Z", 3600},
        {"XST-1", "2026-07-01T00:00:00Z", 3600},
        {"<+01>-1", "2026-07-01T00:00:00Z", 3600},
        {"XST-1XDT,M3.5.0,M10.5.0/3", "2026-07-01T00:00:00Z", 7200},
        {"XST-1XDT,M3.5.0,M10.5.0/3", "2026-12-01T00:00:00Z", 3600},
        {"XST-1XDT,J60,J300", "2024-02-29T12:00:00Z", 3600},
        {"XST-1XDT,J60,J300", "2024-03-01T12:00:00Z", 7200},
        {"XST-1XDT,59,300", "2024-02-29T12:00:00Z", 7200},
        {"XST-1XDT-3:30,J1,J365", "2026-07-01T00:00:00Z", 12600},
        /* Summer time all year long (RFC 8536, 3.3.1). */
        {"XST-1XDT,0/0,J365/25", "2026-01-01T00:30:00Z", 7200},
        {"XST-1XDT,0/0,J365/25", "2026-12-31T23:30:00Z", 7200},
        {"XST-1XDT,M3.4.4/50,M10.4.4/50", "2026-03-28T00:59:59Z", 3600},
        {"XST-1XDT,M3.4.4/50,M10.4.4/50", "2026-03-28T01:00:00Z", 7200},
        {"XST-1XDT,M3.5.0/-1,M10.5.0/-1", "2026-03-28T22:00:00Z", 7200},
        /* South of the equator, summer comes at the turn of the year. */
        {"XST-1XDT,M10.1.0,M4.1.0/3", "2026-01-01T00:00:00Z", 7200},
        {"XST-1XDT,M10.1.0,M4.1.0/3", "2026-07-01T00:00:00Z", 3600},
    };
    unsigned char file[512];

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t len = make_file(file, cases[i].rule);
        struct err e = {0};

        cr_assert_eq(zone_parse("Test", file, len, &zone, &e), ERR_OK, "%s: %s", cases[i].rule,
                     e.text);
        cr_expect_eq(zone_span_at(&zone, seconds_of(cases[i].at)).offset, cases[i].offset,
                     "%s at %s: %d", cases[i].rule, cases[i].at,
                     zone_span_at(&zone, seconds_of(cases[i].at)).offset);
    }
}

Test(zone_parse, refuses_damaged_files)
{
    static const char *const rules[] = {
        "X",
        "XST",
        "XST-",
        "XST-25",
        "XST-1X",
        "XST-1XDT",
        "XST-1XDT,J0,J1",
        "XST-1XDT,366,1",
        "XST-1XDT,M13.1.1,M1.1.1",
        "XST-1XDT,M1.6.1,M1.1.1",
        "XST-1XDT,M1.1.7,M1.1.1",
        "XST-1XDT,M1.1.1",
        "XST-1XDT,M1.1.1,M2.1.1/168",
        "XST-1XDT,M1.1.1,M2.1.1x",
        "<XST-1",
        "XST-1:60",
    };
    unsigned char file[512];
    size_t len = make_file(file, "XST-1");

    for (size_t cut = 0; cut < len; cut++) {
        struct err e = {0};

        cr_expect_eq(zone_parse("Test", file, cut, &zone, &e), ERR_INVALID, "%zu bytes", cut);
    }
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        len = make_file(file, rules[i]);
        cr_expect_eq(zone_parse("Test", file, len, &zone, NULL), ERR_INVALID, "%s", rules[i]);
    }
    len = make_file(file, "XST-1");
    file[4] = '\0';
    cr_expect_eq(zone_parse("Test", file, len, &zone, NULL), ERR_INVALID, "version 1");
    file[4] = '2';
    file[44 + 15 + 44 + 8] = 2;
    cr_expect_eq(zone_parse("Test", file, len, &zone, NULL), ERR_INVALID,
                 "a type that is not there");
}
