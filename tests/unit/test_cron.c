/* SPDX-License-Identifier: MIT
 *
 * Cron expressions: what is read, what is refused and why, and when they come. The rules about
 * changes of the clock are compared with another implementation, for all zones, in
 * tests/integration/test_cron.py.
 */
#include "common/cron.h"

#include <string.h>
#include <unistd.h>

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

static struct cron need_cron(const char *text)
{
    struct cron cron = {0};
    struct err e = {0};

    cr_assert_eq(cron_parse(text, &cron, &e), ERR_OK, "%s: %s", text, e.text);
    return cron;
}

static void need_zone(const char *name)
{
    struct err e = {0};

    cr_assert_eq(zone_read(name, &zone, &e), ERR_OK, "%s", e.text);
}

/* ---- reading ---- */

/* Two texts that mean the same. */
Test(cron_parse, reads_the_same_from)
{
    static const char *const pairs[][2] = {
        {"* * * * *", "0 * * * * *"},
        {"* * * * *", "  *\t* * *  *  "},
        {"*/1 * * * *", "* * * * *"},
        {"0-59 0-23 1-31 1-12 0-6", "0-59 0-23 1-31 1-12 0-7"},
        {"*/15 * * * *", "*/15 * * * *"},
        {"00 08 01 01 07", "0 8 1 1 0"},
        {"0000000000000000000000009 0 * * *", "9 0 * * *"},
        {"1,2,3 0 * * *", "1-3 0 * * *"},
        {"3,1,2,1 0 * * *", "1-3 0 * * *"},
        {"1-10/3 0 * * *", "1,4,7,10 0 * * *"},
        {"1-10/100 0 * * *", "1 0 * * *"},
        {"5-5 0 * * *", "5 0 * * *"},
        {"5-5/7 0 * * *", "5 0 * * *"},
        {"10-20,30-40/5,50 0 * * *", "10,11,12-20,30,35,40,50 0 * * *"},
        {"0 0 * JAN *", "0 0 * 1 *"},
        {"0 0 * jan-Mar,dec *", "0 0 * 1-3,12 *"},
        {"0 0 * feb-nov/3 *", "0 0 * 2,5,8,11 *"},
        {"0 0 * * mon-FRI", "0 0 * * 1-5"},
        {"0 0 * * sun", "0 0 * * 0"},
        {"0 0 * * Sun", "0 0 * * 7"},
        {"0 0 * * 5-7", "0 0 * * 5,6,0"},
        {"0 0 * * 0-7", "0 0 * * 0-6"},
        {"0 0 * * 1-sat", "0 0 * * 1-6"},
        {"@yearly", "0 0 1 1 *"},
        {"@annually", "0 0 1 1 *"},
        {"@monthly", "0 0 1 * *"},
        {"@weekly", "0 0 * * 0"},
        {"@daily", "0 0 * * *"},
        {"@midnight", "0 0 * * *"},
        {"@hourly", "0 * * * *"},
        {"  @hourly\t", "0 * * * *"},
        {"@every 1h30m", "@every 90m"},
        {"@every 1h30m", "@every 5400s"},
        {"@every 1h0m60s", "@every 61m"},
        {"@every   1s", "@every 01s"},
    };

    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        struct cron left = need_cron(pairs[i][0]);
        struct cron right = need_cron(pairs[i][1]);

        cr_expect(left.seconds == right.seconds && left.minutes == right.minutes &&
                      left.hours == right.hours && left.days == right.days &&
                      left.months == right.months && left.weekdays == right.weekdays &&
                      left.every_s == right.every_s,
                  "\"%s\" and \"%s\"", pairs[i][0], pairs[i][1]);
    }
}

Test(cron_parse, a_field_is_a_star_field_by_its_first_character)
{
    cr_assert(need_cron("0 0 */2 * 1").days_star);
    cr_assert(need_cron("0 0 *,5 * 1").days_star);
    cr_assert_not(need_cron("0 0 5,* * 1").days_star);
    cr_assert_not(need_cron("0 0 1-31 * 1").days_star);
    cr_assert(need_cron("0 0 1 * *").weekdays_star);
    cr_assert_not(need_cron("0 0 1 * 0-6").weekdays_star);
    cr_assert(need_cron("* 5 1 * 1").wild);
    cr_assert(need_cron("5 */2 1 * 1").wild);
    cr_assert(need_cron("* 5 5 1 * 1").wild);
    cr_assert_not(need_cron("5 5 * * *").wild);
    cr_assert_not(need_cron("0-59 0-23 * * *").wild);
    cr_assert(need_cron("@hourly").wild);
    cr_assert_not(need_cron("@daily").wild);
}

/* Steps over the days of the week run from 0 to 7. */
Test(cron_parse, steps_over_weekdays_reach_seven)
{
    cr_assert_eq(need_cron("0 0 * * */2").weekdays, 1 | 1 << 2 | 1 << 4 | 1 << 6);
    cr_assert_eq(need_cron("0 0 * * */3").weekdays, 1 | 1 << 3 | 1 << 6);
    cr_assert_eq(need_cron("0 0 * * */5").weekdays, 1 | 1 << 5);
    cr_assert_eq(need_cron("0 0 * * */7").weekdays, 1);
    cr_assert_eq(need_cron("0 0 * * 1-7/2").weekdays, 1 << 1 | 1 << 3 | 1 << 5 | 1);
}

static const struct {
    const char *text;
    const char *field;
    const char *reason;
} refused[] = {
    {"", "expression", "empty"},
    {"   ", "expression", "empty"},
    {"*", "expression", "five"},
    {"* * * *", "expression", "4 fields"},
    {"* * * * * * *", "expression", "year"},
    {"* * * * * * * *", "expression", "8 fields"},
    {"60 * * * *", "minute", "0 to 59"},
    {"-1 * * * *", "minute", "beginning"},
    {"* 24 * * *", "hour", "0 to 23"},
    {"* * 0 * *", "day of month", "1 to 31"},
    {"* * 32 * *", "day of month", "1 to 31"},
    {"* * * 0 *", "month", "1 to 12"},
    {"* * * 13 *", "month", "1 to 12"},
    {"* * * * 8", "day of week", "0 to 7"},
    {"60 * * * * *", "second", "0 to 59"},
    {"* 60 * * * *", "minute", "0 to 59"},
    {"59-60 * * * *", "minute", "0 to 59"},
    {"4294967301 * * * *", "minute", "does not fit"},
    {"99999999999999999999999 * * * *", "minute", "does not fit"},
    {"18446744073709551616 * * * *", "minute", "does not fit"},
    {"*/0 * * * *", "minute", "at least 1"},
    {"*/00 * * * *", "minute", "at least 1"},
    {"1-5/0 * * * *", "minute", "at least 1"},
    {"0-4294967295 * * * *", "minute", "does not fit"},
    {"*/4294967296 * * * *", "minute", "does not fit"},
    {"*/ * * * *", "minute", "a step is a number"},
    {"*/-1 * * * *", "minute", "a step is a number"},
    {"*/x * * * *", "minute", "a step is a number"},
    {"*/5/5 * * * *", "minute", "end"},
    {"5/15 * * * *", "minute", "write 5-59/15"},
    {"* 3/2 * * *", "hour", "write 3-23/2"},
    {"* * 1/7 * *", "day of month", "write 1-31/7"},
    {"* * * jan/2 *", "month", "write 1-12/2"},
    {"* * * * mon/2", "day of week", "write 1-6/2"},
    {"50-10 * * * *", "minute", "write 50-59,0-10"},
    {"* 22-2 * * *", "hour", "write 22-23,0-2"},
    {"* * * nov-feb *", "month", "write 11-12,1-2"},
    {"* * * * fri-sun", "day of week", "write 5-7"},
    {"* * * * 6-1", "day of week", "write 6-6,0-1"},
    {"* * * * 7-1", "day of week", "reversed"},
    {",1 * * * *", "minute", "empty"},
    {"1, * * * *", "minute", "empty"},
    {"1,,2 * * * *", "minute", "empty"},
    {", * * * *", "minute", "empty"},
    {"1- * * * *", "minute", "missing"},
    {"1--3 * * * *", "minute", "beginning"},
    {"1-2-3 * * * *", "minute", "end"},
    {"*-5 * * * *", "minute", "end"},
    {"** * * * *", "minute", "end"},
    {"*5 * * * *", "minute", "end"},
    {"5* * * * *", "minute", "end"},
    {"5% * * * *", "minute", "end"},
    {"+5 * * * *", "minute", "expected"},
    {"5.0 * * * *", "minute", "end"},
    {"0x5 * * * *", "minute", "end"},
    {"1;2 * * * *", "minute", "end"},
    {"* * * * mon#2", "day of week", "#"},
    {"* * L * *", "day of month", "L"},
    {"* * 5L * *", "day of month", "L"},
    {"* * 15W * *", "day of month", "W"},
    {"* * LW * *", "day of month", "takes numbers"},
    {"* * ? * *", "day of month", "?"},
    {"* * * * ?", "day of week", "write *"},
    {"H * * * *", "minute", "H"},
    {"H/15 * * * *", "minute", "H"},
    {"0~59 * * * *", "minute", "~"},
    {"* * * january *", "month", "three letters"},
    {"* * * * sunday", "day of week", "three letters"},
    {"* * * * su", "day of week", "no such name"},
    {"* * * foo *", "month", "no such name"},
    {"* * * mon *", "month", "no such name"},
    {"* * * * jan", "day of week", "no such name"},
    {"mon * * * *", "minute", "takes numbers"},
    {"* * jan * *", "day of month", "takes numbers"},
    {"* * * jan5 *", "month", "end"},
    {"* * * * *\n", "expression", "byte 10"},
    {"*\n* * * *", "expression", "byte 2"},
    {"*\v* * * *", "expression", "byte 2"},
    {"* * * * *\r", "expression", "byte 10"},
    {"*\xc2\xa0* * * *", "expression", "byte 2"},
    {"\xd9\xa1 * * * *", "expression", "byte 1"},
    {"* * * * *\x7f", "expression", "byte 10"},
    {"TZ=UTC * * * * *", "expression", "zone"},
    {"TZ=", "expression", "zone"},
    {"CRON_TZ=Europe/Berlin 0 0 * * *", "expression", "zone"},
    {"@", "macro", "no such one"},
    {"@reboot", "macro", "not supported"},
    {"@Daily", "macro", "no such one"},
    {"@dail", "macro", "no such one"},
    {"@dailyx", "macro", "no such one"},
    {"@daily 5", "macro", "nothing may follow"},
    {"@daily * * * * *", "macro", "nothing may follow"},
    {"@every", "macro", "interval"},
    {"@every 1h 30m", "macro", "interval"},
    {"@every 0s", "@every", "at least one second"},
    {"@every 0h0m0s", "@every", "at least one second"},
    {"@every 5", "@every", "whole hours"},
    {"@every h", "@every", "whole hours"},
    {"@every 1d", "@every", "whole hours"},
    {"@every 1.5h", "@every", "whole hours"},
    {"@every 500ms", "@every", "whole hours"},
    {"@every -1h", "@every", "whole hours"},
    {"@every 1m1h", "@every", "whole hours"},
    {"@every 1h1h", "@every", "whole hours"},
    {"@every 1H", "@every", "whole hours"},
    {"@every 99999999999h", "@every", "does not fit"},
    {"@every 999999999h", "@every", "ten years"},
    {"@every1h", "macro", "no such one"},
};

Test(cron_parse, refuses_and_says_where_and_why)
{
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct cron cron = {.every_s = 42};
        struct err e = {0};

        cr_expect_eq(cron_parse(refused[i].text, &cron, &e), ERR_INVALID, "\"%s\" was read",
                     refused[i].text);
        cr_expect_eq(strncmp(e.text, refused[i].field, strlen(refused[i].field)), 0,
                     "\"%s\": \"%s\" does not name %s", refused[i].text, e.text, refused[i].field);
        cr_expect(strstr(e.text, refused[i].reason), "\"%s\": \"%s\" does not say %s",
                  refused[i].text, e.text, refused[i].reason);
        cr_expect_eq(cron.every_s, 42, "\"%s\": written although refused", refused[i].text);
    }
}

Test(cron_parse, refuses_endless_text)
{
    char text[CRON_TEXT_MAX + 20];

    memset(text, '1', sizeof text);
    memcpy(text + CRON_TEXT_MAX - 8, " * * * *", 9);
    cr_assert_eq(cron_parse(text, &(struct cron){0}, NULL), ERR_INVALID);
    memset(text, ' ', sizeof text);
    memcpy(text + CRON_TEXT_MAX - 8, "* * * * *", 10);
    cr_assert_eq(cron_parse(text, &(struct cron){0}, NULL), ERR_INVALID);
}

/* ---- dates ---- */

Test(cron_can_come, knows_the_lengths_of_months)
{
    static const struct {
        const char *text;
        bool can;
    } cases[] = {
        {"0 0 30 2 *", false},        {"0 0 31 2 *", false},  {"0 0 30,31 2 *", false},
        {"0 0 31 4,6,9,11 *", false}, {"0 0 31 4,5 *", true}, {"0 0 29 2 *", true},
        {"0 0 29 2 */7", true},       {"0 0 31 2 1", true},   {"0 0 31 2 */2", false},
        {"0 0 30 2 sun", true},       {"0 0 31 */2 *", true}, {"0 0 31 2-12/2 *", true},
        {"0 0 31 9,11 *", false},     {"0 0 */31 2 *", true}, {"@every 1s", true},
        {"0 0 30-31 2 0-7", true},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct cron cron = need_cron(cases[i].text);
        int64_t at;

        cr_expect_eq(cron_can_come(&cron), cases[i].can, "%s", cases[i].text);
        need_zone("UTC");
        cr_expect_eq(cron_next(&cron, &zone, 0, &at), cases[i].can, "%s", cases[i].text);
    }
}

struct next_case {
    const char *text;
    const char *zone;
    const char *from;
    const char *wanted[6]; /* until NULL */
};

static void expect_next(const struct next_case *c)
{
    struct cron cron = need_cron(c->text);
    int64_t at = seconds_of(c->from);

    need_zone(c->zone);
    for (size_t i = 0; i < COUNT_OF(c->wanted) && c->wanted[i]; i++) {
        int64_t before = at;
        char text[ZONE_TEXT_SIZE];

        cr_assert(cron_next(&cron, &zone, at, &at), "%s in %s never comes", c->text, c->zone);
        cr_assert_gt(at, before);
        zone_format(&zone, at, text);
        cr_expect_str_eq(text, c->wanted[i], "%s in %s after %s: %s, not %s", c->text, c->zone,
                         c->from, text, c->wanted[i]);
    }
}

#define UTC_CASE(text, from, ...)                                                                  \
    {                                                                                              \
        text, "UTC", from, { __VA_ARGS__ }                                                         \
    }

Test(cron_next, walks_the_calendar)
{
    static const struct next_case cases[] = {
        UTC_CASE("* * * * *", "2026-11-21T10:00:00Z", "2026-11-21T10:01:00+00:00"),
        UTC_CASE("* * * * *", "2026-11-21T10:00:59Z", "2026-11-21T10:01:00+00:00"),
        UTC_CASE("* * * * * *", "2026-11-21T10:00:59Z", "2026-11-21T10:01:00+00:00",
                 "2026-11-21T10:01:01+00:00"),
        UTC_CASE("30 * * * * *", "2026-11-21T10:00:30Z", "2026-11-21T10:01:30+00:00"),
        UTC_CASE("*/20 * * * * *", "2026-11-21T10:00:30Z", "2026-11-21T10:00:40+00:00",
                 "2026-11-21T10:01:00+00:00"),
        UTC_CASE("59 59 23 31 12 *", "2026-12-31T23:59:59Z", "2027-12-31T23:59:59+00:00"),
        UTC_CASE("*/15 * * * *", "2026-11-21T10:46:00Z", "2026-11-21T11:00:00+00:00"),
        UTC_CASE("10,50 8-10/2 * * *", "2026-11-21T08:10:00Z", "2026-11-21T08:50:00+00:00",
                 "2026-11-21T10:10:00+00:00", "2026-11-21T10:50:00+00:00",
                 "2026-11-22T08:10:00+00:00"),
        UTC_CASE("0 0 1 * *", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00+00:00"),
        UTC_CASE("0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00+00:00",
                 "2026-05-31T00:00:00+00:00", "2026-07-31T00:00:00+00:00",
                 "2026-08-31T00:00:00+00:00"),
        UTC_CASE("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00+00:00"),
        UTC_CASE("0 0 29 2 */7", "2026-01-01T00:00:00Z", "2032-02-29T00:00:00+00:00",
                 "2060-02-29T00:00:00+00:00", "2088-02-29T00:00:00+00:00",
                 "2128-02-29T00:00:00+00:00"),
        UTC_CASE("0 0 * * 0", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00+00:00"),
        UTC_CASE("0 0 * * 7", "2026-11-22T00:00:00Z", "2026-11-29T00:00:00+00:00"),
        UTC_CASE("0 9 * * mon-fri", "2026-11-20T09:00:00Z", "2026-11-23T09:00:00+00:00"),
        /* Neither begins with *: the 13th, and every Friday. */
        UTC_CASE("0 0 13 * 5", "2026-11-07T00:00:00Z", "2026-11-13T00:00:00+00:00",
                 "2026-11-20T00:00:00+00:00", "2026-11-27T00:00:00+00:00",
                 "2026-12-04T00:00:00+00:00", "2026-12-11T00:00:00+00:00",
                 "2026-12-13T00:00:00+00:00"),
        /* One begins with *: both. */
        UTC_CASE("0 0 */2 * 5", "2026-11-07T00:00:00Z", "2026-11-13T00:00:00+00:00",
                 "2026-11-27T00:00:00+00:00", "2026-12-11T00:00:00+00:00"),
        UTC_CASE("0 0 13 * */5", "2026-11-07T00:00:00Z", "2026-11-13T00:00:00+00:00",
                 "2026-12-13T00:00:00+00:00"),
        UTC_CASE("0 0 1-31 * 5", "2026-11-07T00:00:00Z", "2026-11-08T00:00:00+00:00"),
        UTC_CASE("0 0 31 4 3", "2026-04-01T00:00:00Z", "2026-04-08T00:00:00+00:00"),
        UTC_CASE("@every 90m", "2026-11-21T10:00:05Z", "2026-11-21T11:30:05+00:00",
                 "2026-11-21T13:00:05+00:00"),
        UTC_CASE("* * * * *", "2038-01-19T03:14:07Z", "2038-01-19T03:15:00+00:00"),
        UTC_CASE("* * * * *", "1969-12-31T23:59:30Z", "1970-01-01T00:00:00+00:00"),
        UTC_CASE("0 0 1 1 *", "1900-06-01T00:00:00Z", "1901-01-01T00:00:00+00:00"),
        UTC_CASE("59 23 31 12 *", "9999-01-01T00:00:00Z", "9999-12-31T23:59:00+00:00"),
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect_next(&cases[i]);
}

/* ---- changes of the clock ---- */

static const struct next_case clock_changes[] = {
    /* A gap: fixed times come at its end, once, and what meets is one. */
    {"30 2 * * *",
     "America/New_York",
     "2024-03-09T12:00:00Z",
     {"2024-03-10T03:00:00-04:00", "2024-03-11T02:30:00-04:00"}},
    {"*/30 2 * * *", "America/New_York", "2024-03-09T12:00:00Z", {"2024-03-11T02:00:00-04:00"}},
    {"0,30 2 * * *",
     "America/New_York",
     "2024-03-09T12:00:00Z",
     {"2024-03-10T03:00:00-04:00", "2024-03-11T02:00:00-04:00"}},
    {"0 2,3 * * *",
     "America/New_York",
     "2024-03-09T12:00:00Z",
     {"2024-03-10T03:00:00-04:00", "2024-03-11T02:00:00-04:00"}},
    {"30 2,3 * * *",
     "America/New_York",
     "2024-03-09T12:00:00Z",
     {"2024-03-10T03:00:00-04:00", "2024-03-10T03:30:00-04:00", "2024-03-11T02:30:00-04:00"}},
    {"0 * * * *",
     "America/New_York",
     "2024-03-10T06:30:00Z",
     {"2024-03-10T03:00:00-04:00", "2024-03-10T04:00:00-04:00"}},
    {"0 0 * * *",
     "America/Havana",
     "2024-03-09T12:00:00Z",
     {"2024-03-10T01:00:00-04:00", "2024-03-11T00:00:00-04:00"}},
    {"15 2 * * *",
     "Australia/Lord_Howe",
     "2024-10-05T00:00:00Z",
     {"2024-10-06T02:30:00+11:00", "2024-10-07T02:15:00+11:00"}},
    {"0 1 * * *",
     "Antarctica/Troll",
     "2024-03-30T12:00:00Z",
     {"2024-03-31T03:00:00+02:00", "2024-04-01T01:00:00+02:00"}},
    {"50 2 * * *",
     "Pacific/Chatham",
     "2024-09-28T12:00:00Z",
     {"2024-09-29T03:45:00+13:45", "2024-09-30T02:50:00+13:45"}},
    {"0 0 * * *", "Asia/Beirut", "2024-03-30T12:00:00Z", {"2024-03-31T01:00:00+03:00"}},
    {"30 0 * * *", "Africa/Cairo", "2024-04-25T12:00:00Z", {"2024-04-26T01:00:00+03:00"}},
    {"0 0 * * *", "America/Santiago", "2024-09-07T12:00:00Z", {"2024-09-08T01:00:00-03:00"}},
    {"30 2 * * *",
     "America/Caracas",
     "2016-04-30T12:00:00Z",
     {"2016-05-01T03:00:00-04:00", "2016-05-02T02:30:00-04:00"}},
    {"15 30 2 * * *",
     "Europe/Berlin",
     "2024-03-30T12:00:00Z",
     {"2024-03-31T03:00:00+02:00", "2024-04-01T02:30:15+02:00"}},
    {"* 30 2 * * *", "Europe/Berlin", "2024-03-30T12:00:00Z", {"2024-04-01T02:30:00+02:00"}},
    /* A repetition: fixed times come at the first pass, wild ones at both. */
    {"30 1 * * *",
     "America/New_York",
     "2024-11-02T12:00:00Z",
     {"2024-11-03T01:30:00-04:00", "2024-11-04T01:30:00-05:00"}},
    {"0 * * * *",
     "America/New_York",
     "2024-11-03T04:30:00Z",
     {"2024-11-03T01:00:00-04:00", "2024-11-03T01:00:00-05:00", "2024-11-03T02:00:00-05:00"}},
    {"0 0-23 * * *",
     "America/New_York",
     "2024-11-03T04:30:00Z",
     {"2024-11-03T01:00:00-04:00", "2024-11-03T02:00:00-05:00"}},
    {"*/30 1 * * *",
     "America/New_York",
     "2024-11-03T04:30:00Z",
     {"2024-11-03T01:00:00-04:00", "2024-11-03T01:30:00-04:00", "2024-11-03T01:00:00-05:00",
      "2024-11-03T01:30:00-05:00", "2024-11-04T01:00:00-05:00"}},
    /* From within the second pass: never the first. */
    {"30 1 * * *", "America/New_York", "2024-11-03T06:10:00Z", {"2024-11-04T01:30:00-05:00"}},
    {"*/30 * * * *",
     "America/New_York",
     "2024-11-03T06:10:00Z",
     {"2024-11-03T01:30:00-05:00", "2024-11-03T02:00:00-05:00"}},
    {"45 1 * * *",
     "Australia/Lord_Howe",
     "2024-04-06T00:00:00Z",
     {"2024-04-07T01:45:00+11:00", "2024-04-08T01:45:00+10:30"}},
    {"30 23 * * *",
     "America/Havana",
     "2024-11-02T12:00:00Z",
     {"2024-11-02T23:30:00-04:00", "2024-11-03T23:30:00-05:00"}},
    {"30 23 * * *",
     "America/Sao_Paulo",
     "2018-02-17T12:00:00Z",
     {"2018-02-17T23:30:00-02:00", "2018-02-18T23:30:00-03:00"}},
    {"30 2 * * *", "Europe/Dublin", "2024-03-30T12:00:00Z", {"2024-03-31T02:30:00+01:00"}},
    {"30 1 * * *", "Europe/Dublin", "2024-03-30T12:00:00Z", {"2024-03-31T02:00:00+01:00"}},
    /* Changes of standard time. */
    {"0 12 * * *",
     "America/Caracas",
     "2016-04-30T12:00:00Z",
     {"2016-04-30T12:00:00-04:30", "2016-05-01T12:00:00-04:00", "2016-05-02T12:00:00-04:00"}},
    /* A country that crossed the date line: nothing is made up for the day that was not. */
    {"0 12 * * *",
     "Pacific/Apia",
     "2011-12-29T00:00:00Z",
     {"2011-12-29T12:00:00-10:00", "2011-12-31T12:00:00+14:00"}},
    {"0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", {"2012-12-30T12:00:00+14:00"}},
    /* One that crossed it the other way lived a day twice. */
    {"0 12 * * *",
     "Pacific/Kwajalein",
     "1969-09-30T00:00:00Z",
     {"1969-09-30T12:00:00+11:00", "1969-09-30T12:00:00-12:00", "1969-10-01T12:00:00-12:00"}},
    /* Long after the last change that any file lists. */
    {"30 2 * * *",
     "Europe/Berlin",
     "2500-03-27T12:00:00Z",
     {"2500-03-28T03:00:00+02:00", "2500-03-29T02:30:00+02:00"}},
};

Test(cron_next, follows_changes_of_the_clock)
{
    for (size_t i = 0; i < COUNT_OF(clock_changes); i++)
        expect_next(&clock_changes[i]);
}

/* The second Sunday of March between two and three is never, in New York, since 2007. */
Test(cron_next, ends_where_the_gap_swallows_every_time)
{
    struct cron cron = need_cron("*/30 2 8-14 3 */7");
    int64_t at = 0;

    (void)alarm(20);
    need_zone("America/New_York");
    cr_assert_not(cron_next(&cron, &zone, seconds_of("2024-01-01T00:00:00Z"), &at));
    need_zone("Europe/Berlin");
    cr_assert(cron_next(&cron, &zone, seconds_of("2024-01-01T00:00:00Z"), &at));
}

Test(cron_next, ends_at_the_ends_of_time)
{
    static const int64_t times[] = {INT64_MIN,
                                    INT64_MIN + 1,
                                    INT64_C(-62135596801),
                                    INT64_C(253402300799),
                                    INT64_C(253402300800),
                                    INT64_MAX - 1,
                                    INT64_MAX};
    static const char *const texts[] = {"* * * * *", "0 0 29 2 *", "@every 1h", "@every 87600h"};

    need_zone("Europe/Berlin");
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        for (size_t k = 0; k < COUNT_OF(texts); k++) {
            struct cron cron = need_cron(texts[k]);
            int64_t at = 0;

            if (cron_next(&cron, &zone, times[i], &at))
                cr_expect_gt(at, times[i]);
        }
    }
}

/* Hours of the two odd days of a year. */
Test(cron_next, counts_the_hours_of_a_day)
{
    static const struct {
        const char *text;
        const char *from;
        const char *until;
        size_t count;
    } cases[] = {
        {"0 * * * *", "2024-11-03T04:00:00Z", "2024-11-04T04:59:59Z", 25},
        {"0 0-23 * * *", "2024-11-03T04:00:00Z", "2024-11-04T04:59:59Z", 24},
        {"0 * * * *", "2024-03-10T05:00:00Z", "2024-03-11T03:59:59Z", 23},
        {"0 0-23 * * *", "2024-03-10T05:00:00Z", "2024-03-11T03:59:59Z", 23},
        {"*/5 * * * *", "2024-11-03T04:00:00Z", "2024-11-04T04:59:59Z", 300},
    };
    int64_t at[400];

    need_zone("America/New_York");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct cron cron = need_cron(cases[i].text);

        cr_expect_eq(cron_last(&cron, &zone, seconds_of(cases[i].from), seconds_of(cases[i].until),
                               COUNT_OF(at), at),
                     cases[i].count, "%s from %s", cases[i].text, cases[i].from);
    }
}

Test(cron_last, gives_the_last_ones_in_order)
{
    struct cron every_minute = need_cron("* * * * *");
    struct cron yearly = need_cron("@yearly");
    struct cron interval = need_cron("@every 7s");
    int64_t at[10] = {0};

    need_zone("UTC");
    cr_assert_eq(cron_last(&every_minute, &zone, 0, 6000, 10, at), 10);
    for (int i = 0; i < 10; i++)
        cr_expect_eq(at[i], 6000 - (9 - i) * 60);
    cr_assert_eq(cron_last(&every_minute, &zone, 61, 179, 10, at), 1);
    cr_assert_eq(at[0], 120);
    cr_assert_eq(cron_last(&every_minute, &zone, 61, 60, 10, at), 0);
    cr_assert_eq(cron_last(&yearly, &zone, 0, seconds_of("2026-06-01T00:00:00Z"), 2, at), 2);
    cr_assert_eq(at[0], seconds_of("2025-01-01T00:00:00Z"));
    cr_assert_eq(at[1], seconds_of("2026-01-01T00:00:00Z"));
    cr_assert_eq(cron_last(&interval, &zone, 100, 120, 10, at), 3);
    cr_assert(at[0] == 100 && at[1] == 107 && at[2] == 114);
    cr_assert_eq(cron_last(&interval, &zone, 100, 120, 2, at), 2);
    cr_assert(at[0] == 107 && at[1] == 114);
    cr_assert_eq(cron_last(&interval, &zone, 100, 99, 2, at), 0);
}

/* ---- words ---- */

Test(cron_describe, says_it_in_english)
{
    static const char *const cases[][2] = {
        {"* * * * *", "every minute"},
        {"*/5 * * * *", "every 5 minutes"},
        {"*/7 * * * *", "every 7 minutes from minute 0"},
        {"2-59/10 * * * *", "every 10 minutes from minute 2"},
        {"0 * * * *", "every hour"},
        {"0 */2 * * *", "every 2 hours"},
        {"30 2 * * *", "at 02:30"},
        {"30 2 * * mon-fri", "at 02:30 on Monday to Friday"},
        {"0 6,18 * * *", "at 06:00 and 18:00"},
        {"0 0 1 1 *", "at 00:00 on day 1 of the month in January"},
        {"0 0 1,15 * *", "at 00:00 on days 1 and 15 of the month"},
        {"0 0 13 * 5", "at 00:00 on day 13 of the month and on every Friday"},
        {"0 0 13 * */5", "at 00:00 on day 13 of the month if it is Sunday or Friday"},
        {"* */21 * * *", "every minute of hours 0 and 21"},
        {"* */9 * * *", "every minute of hours 0, 9 and 18"},
        {"* */7 * * *", "every minute of every 7th hour"},
        {"0 0 */22 * *", "at 00:00 on days 1 and 23 of the month"},
        {"0 0 */10 * *", "at 00:00 on every 10th day of the month from the 1st"},
        {"* * * * * *", "every second"},
        {"*/10 * * * * *", "every 10 seconds"},
        {"15 30 2 * * *", "at 02:30:15"},
        {"*/15 9-17 * * mon-fri", "every 15 minutes from 09:00 to 17:59 on Monday to Friday"},
        {"5,35 * * * *", "at minute 5 and 35"},
        {"* 2 * * *", "every minute from 02:00 to 02:59"},
        {"0 0 * * 0-6", "at 00:00"},
        {"0 0 1 * 0-6", "at 00:00"},
        {"0 0 * jun-aug *", "at 00:00 in June to August"},
        {"0 8-18 * * *", "on the hour at 8 to 18"},
        {"0 0 30 2 *", "at 00:00 on day 30 of the month in February, which never comes"},
        {"@every 1h30m", "every 1 hour 30 minutes"},
        {"@every 1h", "every hour"},
        {"@every 90s", "every 1 minute 30 seconds"},
        {"@daily", "at 00:00"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct cron cron = need_cron(cases[i][0]);
        char text[CRON_DESCRIPTION_SIZE];

        cron_describe(&cron, text);
        cr_expect_str_eq(text, cases[i][1], "%s: %s", cases[i][0], text);
    }
}

/* The longest there is must fit. */
Test(cron_describe, fits)
{
    struct cron cron =
        need_cron("0,2,5,7,10,12,15,17,20,22,25,27,30,32,35,37,40,42,45,47,50,52,55,57"
                  " 0,2,5,7,10,12,15,17,20,22,25,27,30,32,35,37,40,42,45,47,50,52,55"
                  " 0,2,5,7,10,12,15,17,20,22 1,3,6,8,11,13,16,18,21,23,26,28,31"
                  " 1,3,5,8,10,12 1,3,5");
    char text[CRON_DESCRIPTION_SIZE];

    cron_describe(&cron, text);
    cr_assert_neq(*text, '\0');
    cr_assert_lt(strlen(text), sizeof text - 1, "it was cut: %s", text);
}
