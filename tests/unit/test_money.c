/* SPDX-License-Identifier: MIT
 *
 * Decimal texts to minor units and back: exact, within numeric(12,2), or refused.
 */
#include "common/money.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"

struct money_case {
    const char *text;
    int64_t minor;
};

Test(money_parse, accepts)
{
    static const struct money_case cases[] = {
        {"0", 0},
        {"0.00", 0},
        {"-0", 0},
        {"0.01", 1},
        {"0.1", 10},
        {"1", 100},
        {"1.5", 150},
        {"12000.99", 1200099},
        {"19.99", 1999},
        {"0.29", 29},
        {"1.15", 115},
        {"-3.5", -350},
        {"-0.01", -1},
        {"007.50", 750},
        {"00000000000000000000000000000001.00", 100},
        {"9999999999.99", MONEY_MAX},
        {"-9999999999.99", -MONEY_MAX},
        {"9999999999", MONEY_MAX - 99},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t minor = 42;

        cr_expect(money_parse(cases[i].text, &minor), "%s", cases[i].text);
        cr_expect_eq(minor, cases[i].minor, "%s: %lld", cases[i].text, (long long)minor);
    }
}

Test(money_parse, refuses)
{
    static const char *const bad[] = {
        "",
        "-",
        ".",
        "-.",
        ".5",
        "-.5",
        "1.",
        "1.001",
        "1.000",
        "1.2.3",
        "1,50",
        "1 000",
        " 1",
        "1 ",
        "+1",
        "--1",
        "-+1",
        "1-",
        "1e3",
        "1E3",
        "0x10",
        "NaN",
        "Infinity",
        "inf",
        "one",
        "$1",
        "1.-5",
        "1.5\n",
        "\xd9\xa1",
        "1.5f",
        "1_000",
        "1/2",
        "1.5%",
        "-1.005",
        "1\xc2\xa0",
        "10000000000",
        "10000000000.00",
        "9999999999.991",
        "-10000000000",
        "18446744073709551617",
        "99999999999999999999999999999999999999",
    };

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t minor = 42;

        cr_expect_not(money_parse(bad[i], &minor), "\"%s\" was read as %lld", bad[i],
                      (long long)minor);
        cr_expect_eq(minor, 42, "\"%s\": written although refused", bad[i]);
    }
}

Test(money_format, writes_two_places)
{
    static const struct money_case cases[] = {
        {"0.00", 0},
        {"0.01", 1},
        {"0.10", 10},
        {"-0.01", -1},
        {"-0.99", -99},
        {"-1.00", -100},
        {"12000.99", 1200099},
        {"9999999999.99", MONEY_MAX},
        {"92233720368547758.07", INT64_MAX},
        {"-92233720368547758.08", INT64_MIN},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[MONEY_TEXT_SIZE];

        money_format(cases[i].minor, text);
        cr_expect_str_eq(text, cases[i].text);
    }
}

static void expect_round_trip(int64_t minor)
{
    char text[MONEY_TEXT_SIZE];
    int64_t back = 0;

    money_format(minor, text);
    cr_assert(money_parse(text, &back), "%s", text);
    cr_assert_eq(back, minor, "%s", text);
}

Test(money, round_trip)
{
    for (int64_t minor = -1000; minor <= 1000; minor++)
        expect_round_trip(minor);
    for (int64_t minor = MONEY_MAX; minor > 0; minor -= INT64_C(9999999967))
        expect_round_trip(minor);
}

Test(money_add_line, adds_price_times_quantity)
{
    int64_t total = 5;

    cr_assert(money_add_line(1999, 3, &total));
    cr_assert_eq(total, 6002);
    cr_assert(money_add_line(0, 1000000, &total));
    cr_assert(money_add_line(1999, 0, &total));
    cr_assert_eq(total, 6002);
}

Test(money_add_line, refuses_what_leaves_the_range)
{
    int64_t total = 1;

    cr_assert_not(money_add_line(MONEY_MAX, 1, &total));
    cr_assert_not(money_add_line(MONEY_MAX, 1000000, &total));
    cr_assert_not(money_add_line(INT64_MAX, 2, &total));
    cr_assert_not(money_add_line(INT64_MAX, 1, &total));
    cr_assert_eq(total, 1, "a refused line changes nothing");
    cr_assert(money_add_line(MONEY_MAX - 1, 1, &total));
    cr_assert_eq(total, MONEY_MAX);
    cr_assert_not(money_add_line(1, 1, &total));
}
