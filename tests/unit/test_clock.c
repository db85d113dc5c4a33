/* SPDX-License-Identifier: MIT
 *
 * RFC 3339 to microseconds and back, and the clocks that tests set.
 */
#include "common/clock.h"

#include <criterion/criterion.h>
#include <string.h>

#include "common/auto.h"

struct parse_case {
    const char *text;
    int64_t us;
};

Test(clock_parse, accepts)
{
    static const struct parse_case cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00z", 0},
        {"1970-01-01 00:00:00Z", 0},
        {"1970-01-01T00:00:00.000001Z", 1},
        {"1970-01-01T00:00:00.5Z", 500000},
        {"1970-01-01T00:00:00.1234567899Z", 123456},
        {"1969-12-31T23:59:59.999999Z", -1},
        {"1970-01-01T01:00:00+01:00", 0},
        {"1969-12-31T19:00:00-05:00", 0},
        {"1970-01-01T05:45:00+05:45", 0},
        {"1970-01-01T00:00:00-00:00", 0},
        {"1970-01-01T23:59:00+23:59", 0},
        {"2026-11-21T19:19:16.082437Z", INT64_C(1795288756082437)},
        {"2024-02-29T12:00:00Z", INT64_C(1709208000000000)},
        {"2000-02-29T00:00:00Z", INT64_C(951782400000000)},
        {"2038-01-19T03:14:08Z", INT64_C(2147483648000000)},
        {"9999-12-31T23:59:59.999999Z", INT64_C(253402300799999999)},
        {"0001-01-01T00:00:00Z", INT64_C(-62135596800000000)},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t us = 42;

        cr_expect(clock_parse(cases[i].text, &us), "%s", cases[i].text);
        cr_expect_eq(us, cases[i].us, "%s: %lld", cases[i].text, (long long)us);
    }
}

Test(clock_parse, refuses)
{
    static const char *const bad[] = {
        "",
        "now",
        "1970",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01T00:00Z",
        "1970-01-01T00:00:00ZZ",
        "1970-01-01T00:00:00Z ",
        " 1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00,5Z",
        "1970-01-01T00:00:00+0100",
        "1970-01-01T00:00:00+1:00",
        "1970-01-01T00:00:00+01",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+01:60",
        "1970-1-01T00:00:00Z",
        "1970-01-1T00:00:00Z",
        "70-01-01T00:00:00Z",
        "-01-01T00:00:00Z",
        "19700-01-01T00:00:00Z",
        "-970-01-01T00:00:00Z",
        "+970-01-01T00:00:00Z",
        "1970--1-01T00:00:00Z",
        "1970-00-01T00:00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-01-00T00:00:00Z",
        "1970-01-32T00:00:00Z",
        "1970-04-31T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2024-02-30T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:60Z",
        "1970-01-01T-1:00:00Z",
        "1970-01-01T0x:00:00Z",
        "1970-01-01T00:00:0Z",
        "1970/01/01T00:00:00Z",
        "9999-12-31T23:59:59-00:01",
        "0001-01-01T00:00:00+00:01",
        "\xd9\xa1\xd9\xa9\xd9\xa7\xd9\xa0-01-01T00:00:00Z",
    };

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t us = 42;

        cr_expect_not(clock_parse(bad[i], &us), "%s was read as %lld", bad[i], (long long)us);
        cr_expect_eq(us, 42, "%s: written although refused", bad[i]);
    }
}

Test(clock_format, writes_as_django_rest_framework)
{
    static const struct parse_case cases[] = {
        {"1970-01-01T00:00:00.000000Z", 0},
        {"1969-12-31T23:59:59.999999Z", -1},
        {"1969-12-31T23:59:59.000000Z", -1000000},
        {"2026-11-21T19:19:16.082437Z", INT64_C(1795288756082437)},
        {"0001-01-01T00:00:00.000000Z", INT64_C(-62135596800000000)},
        {"9999-12-31T23:59:59.999999Z", INT64_C(253402300799999999)},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[CLOCK_TEXT_SIZE];

        clock_format(cases[i].us, text);
        cr_expect_str_eq(text, cases[i].text);
    }
}

Test(clock_format, extremes_fit_and_end)
{
    static const int64_t extremes[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX};

    for (size_t i = 0; i < COUNT_OF(extremes); i++) {
        char text[CLOCK_TEXT_SIZE];

        clock_format(extremes[i], text);
        cr_expect_lt(strlen(text), sizeof text);
        cr_expect_eq(text[strlen(text) - 1], 'Z', "%s", text);
    }
}

/* A step that meets every day of the week, month ends, leap days and odd fractions. */
Test(clock, round_trip)
{
    const int64_t last = INT64_C(253402300799999999);
    const int64_t step = INT64_C(86399) * 37 * US_PER_S + 123457;

    for (int64_t us = INT64_C(-62135596800000000); us < last; us += step) {
        char text[CLOCK_TEXT_SIZE];
        int64_t back = 0;

        clock_format(us, text);
        cr_assert(clock_parse(text, &back), "%s", text);
        cr_assert_eq(back, us, "%s", text);
    }
}

Test(clock, timespec)
{
    struct timespec ts = clock_timespec(INT64_C(3000001));

    cr_assert_eq(ts.tv_sec, 3);
    cr_assert_eq(ts.tv_nsec, 1000);
    ts = clock_timespec(-5);
    cr_assert_eq(ts.tv_sec, 0);
    cr_assert_eq(ts.tv_nsec, 0);
}

Test(clock, stands_still_when_fixed)
{
    clock_fix(1000, 2000);
    cr_assert_eq(clock_wall_us(), 1000);
    cr_assert_eq(clock_mono_us(), 2000);
    clock_fix(1001, 2001);
    cr_assert_eq(clock_wall_us(), 1001);
    clock_real();
    cr_assert_gt(clock_wall_us(), INT64_C(1700000000000000));
}

Test(clock, monotonic_never_goes_back)
{
    int64_t before = clock_mono_us();

    for (int i = 0; i < 10000; i++) {
        int64_t now = clock_mono_us();

        cr_assert_geq(now, before);
        before = now;
    }
}
