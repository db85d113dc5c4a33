/* SPDX-License-Identifier: MIT
 *
 * Text from outside: integers, UTF-8, names, and card numbers, of which none may pass.
 */
#include "common/text.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/buf.h"

struct int_case {
    const char *text;
    int64_t value;
};

Test(text_to_int, accepts)
{
    static const struct int_case cases[] = {
        {"0", 0},
        {"-0", 0},
        {"007", 7},
        {"-12", -12},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t value = 42;

        cr_expect(text_to_int(cases[i].text, INT64_MIN, INT64_MAX, &value), "%s", cases[i].text);
        cr_expect_eq(value, cases[i].value, "%s", cases[i].text);
    }
}

Test(text_to_int, refuses)
{
    static const char *const bad[] = {
        "",
        "-",
        "--1",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "0x1",
        "1e3",
        "one",
        "1\n",
        "-+1",
        "1,000",
        "\t1",
        "- 1",
        "1_000",
        "\xef\xbc\x91",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999999999",
    };

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t value = 42;

        cr_expect_not(text_to_int(bad[i], INT64_MIN, INT64_MAX, &value), "\"%s\"", bad[i]);
        cr_expect_eq(value, 42);
    }
}

Test(text_to_ms, reads_seconds_with_up_to_three_digits_behind_the_point)
{
    static const struct int_case good[] = {
        {"1", 1000}, {"0.001", 1}, {"2.5", 2500}, {"007.25", 7250}, {"31536000", 31536000000}};
    static const char *const bad[] = {"",    "0",   ".5",   "5.",    "0.0001",     "1e3", "0x10",
                                      " 5",  "5 ",  "-1",   "+1",    "31536000.1", "inf", "nan",
                                      "1,5", "1..", "1.-5", "1.2.3", "999999999"};

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        int64_t ms = 0;

        cr_expect(text_to_ms(good[i].text, 31536000000, &ms), "%s", good[i].text);
        cr_expect_eq(ms, good[i].value, "%s", good[i].text);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t ms = 0;

        cr_expect_not(text_to_ms(bad[i], 31536000000, &ms), "\"%s\"", bad[i]);
    }
}

Test(text_to_int, keeps_to_its_bounds)
{
    int64_t value;

    cr_assert(text_to_int("1", 1, 10, &value));
    cr_assert(text_to_int("10", 1, 10, &value));
    cr_assert_not(text_to_int("0", 1, 10, &value));
    cr_assert_not(text_to_int("11", 1, 10, &value));
}

Test(text_starts, compares_the_prefix)
{
    cr_assert(text_starts("--config", "--"));
    cr_assert(text_starts("abc", ""));
    cr_assert_not(text_starts("ab", "abc"));
}

Test(text_is_utf8, accepts_well_formed)
{
    static const char *const good[] = {
        "",
        "plain",
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "\xf0\x9f\x9b\x92 \xc3\xa9\xe2\x82\xac",
    };

    for (size_t i = 0; i < COUNT_OF(good); i++)
        cr_expect(text_is_utf8(good[i], strlen(good[i])), "case %zu", i);
}

Test(text_is_utf8, refuses_ill_formed)
{
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc3",
        "a\xc3",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xe2\x82",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x9f\x9b",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xc3\x28",
        "\xe2\x82\x28",
        "\xf0\x9f\x9b\x28",
        "\xf8\x88\x80\x80\x80",
    };

    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_not(text_is_utf8(bad[i], strlen(bad[i])), "case %zu", i);
    cr_assert_not(text_is_utf8("a\0b", 3), "NUL");
    cr_assert_not(text_is_utf8("\xe2\x82\xac", 2), "cut by its length");
}

Test(text_count_chars, counts_characters_not_bytes)
{
    cr_assert_eq(text_count_chars(""), 0);
    cr_assert_eq(text_count_chars("abc"), 3);
    cr_assert_eq(text_count_chars("\xc3\xa9\xe2\x82\xac\xf0\x9f\x9b\x92"), 3);
}

Test(text_whole_span, cuts_between_characters)
{
    const char *text = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x9b\x92";
    static const size_t whole[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};

    for (size_t max = 0; max < COUNT_OF(whole); max++)
        cr_assert_eq(text_whole_span(text, max), whole[max], "%zu", max);
}

Test(text_is_name, letters_digits_and_three_marks)
{
    char longest[202];

    cr_assert(text_is_name("payments.tasks.process_payment"));
    cr_assert(text_is_name("A-z_0.9"));
    cr_assert_not(text_is_name(""));
    cr_assert_not(text_is_name("two words"));
    cr_assert_not(text_is_name("a\nb"));
    cr_assert_not(text_is_name("a{b}"));
    cr_assert_not(text_is_name("\xc3\xa9"));
    memset(longest, 'a', sizeof longest);
    longest[200] = '\0';
    cr_assert(text_is_name(longest));
    longest[200] = 'a';
    longest[201] = '\0';
    cr_assert_not(text_is_name(longest));
}

/* Test numbers that the networks and payment providers publish. */
static const char *const card_numbers[] = {
    "4242424242424242",    /* Visa */
    "4000056655665556",    /* Visa debit */
    "4111111111111111",    /* Visa */
    "4012888888881881",    /* Visa */
    "4222222222222",       /* Visa, 13 digits */
    "4000000000000000006", /* Visa, 19 digits */
    "5555555555554444",    /* Mastercard */
    "5105105105105100",    /* Mastercard */
    "5200828282828210",    /* Mastercard debit */
    "2223003122003222",    /* Mastercard, 2-series */
    "2720992593319364",    /* Mastercard, end of the 2-series */
    "378282246310005",     /* American Express */
    "371449635398431",     /* American Express */
    "341111111111111",     /* American Express */
    "6011111111111117",    /* Discover */
    "6011000990139424",    /* Discover */
    "6445644564456445",    /* Discover */
    "30569309025904",      /* Diners Club */
    "38520000023237",      /* Diners Club */
    "36227206271667",      /* Diners Club */
    "3056930009020004",    /* Diners Club, 16 digits */
    "3530111333300000",    /* JCB */
    "3566002020360505",    /* JCB */
    "6200000000000005",    /* UnionPay */
    "6205500000000000004", /* UnionPay, 19 digits */
    "6759649826438453",    /* Maestro */
    "6555900000604105",    /* BCcard */
    "2200000000000004",    /* Mir */
};

static bool found(const char *text) { return text_has_card_number(text, strlen(text)); }

Test(text_has_card_number, finds_every_networks_test_numbers)
{
    for (size_t i = 0; i < COUNT_OF(card_numbers); i++)
        cr_expect(found(card_numbers[i]), "%s", card_numbers[i]);
}

/* "4242 4242 4242 4242" and the 4-6-5 of American Express; one separator between any groups. */
static void split(const char *digits, char separator, const char *groups, char *out, size_t size)
{
    struct buf b;
    size_t left = (size_t)(groups[0] - '0');

    buf_init(&b, size - 1);
    for (; *digits; digits++, left--) {
        if (left == 0) {
            buf_add_char(&b, separator);
            groups += groups[1] != '\0';
            left = (size_t)(groups[0] - '0');
        }
        buf_add_char(&b, *digits);
    }
    cr_assert_not(b.overflow);
    memcpy(out, b.data, b.len + 1);
    buf_release(&b);
}

Test(text_has_card_number, finds_them_with_separators)
{
    static const char *const groupings[] = {"4", "465", "1", "64", "29"};

    for (size_t i = 0; i < COUNT_OF(card_numbers); i++) {
        for (size_t g = 0; g < COUNT_OF(groupings); g++) {
            char text[64];

            split(card_numbers[i], ' ', groupings[g], text, sizeof text);
            cr_expect(found(text), "%s", text);
            split(card_numbers[i], '-', groupings[g], text, sizeof text);
            cr_expect(found(text), "%s", text);
        }
    }
}

Test(text_has_card_number, finds_them_inside_other_text)
{
    static const char *const around[][2] = {
        {"my card is ", " thanks"},
        {"{\"number\": \"", "\"}"},
        {"{\"number\":", "}"},
        {"card=", "&cvc=123"},
        {"<", ">"},
        {"a", "b"},
        {"_", "_"},
        {"7 ", " 7"},
        {"12/29 ", " 12/29"},
        {"2026-11-21 ", " 123"},
        {"1-", "-1"},
        {"\xc3\xa9", "\xc3\xa9"},
        {"4242 ", ""},
        {"", "\n"},
        {"+", ""},
    };

    for (size_t i = 0; i < COUNT_OF(card_numbers); i++) {
        for (size_t k = 0; k < COUNT_OF(around); k++) {
            char text[128];

            cr_assert(text_format(text, sizeof text, "%s%s%s", around[k][0], card_numbers[i],
                                  around[k][1]));
            cr_expect(found(text), "%s", text);
        }
    }
}

Test(text_has_card_number, looks_behind_nul_bytes)
{
    static const char text[] = "name\0"
                               "4242424242424242";

    cr_assert(text_has_card_number(text, sizeof text - 1));
}

Test(text_has_card_number, keeps_within_its_length)
{
    cr_assert_not(text_has_card_number("4111111111111111", 15));
    cr_assert_not(text_has_card_number("4111111111111111", 0));
    cr_assert(text_has_card_number("4111111111111111999", 16));
}

Test(text_has_card_number, lets_other_numbers_pass)
{
    static const char *const others[] = {
        "",
        "0",
        "4242424242424241",       /* wrong check digit */
        "424242424242",           /* 12 digits */
        "42424242424242424242",   /* 20 digits: no card has them */
        "4242  4242  4242  4242", /* columns of a table, not one number */
        "4242--4242--4242--4242",
        "4242.4242.4242.4242", /* version or address */
        "42424242 x 42424242",
        "0000000000000000", /* holds Luhn's check, issued by nobody */
        "1000000000000008",
        "7000000000000005",
        "9999999999999995",
        "ORD-2026-000000123456", /* order ids */
        "order 1000000000123",
        "1795288756082",               /* milliseconds */
        "1795288756082437",            /* microseconds */
        "1795288756082-0",             /* a stream entry */
        "2026-11-21T19:19:16.082437Z", /* and with its blanks as separators: */
        "2026-11-21 19:19:16",
        "20261121191916",
        "+1 415 555 2671", /* telephone numbers */
        "+44 20 7946 0958",
        "0049 30 901820",
        "+49 30 901820",
        "0192e4a1-bcde-7f00-8abc-def012345678", /* ids */
        "123e4567-e89b-42d3-a456-426614174000",
        "pm_card_visa",
        "12000.00",
        "9999999999.99",
        "127.0.0.1:5432",
    };

    for (size_t i = 0; i < COUNT_OF(others); i++)
        cr_expect_not(found(others[i]), "%s", others[i]);
}

Test(text_percent_decode, undoes_escapes_and_leaves_the_rest)
{
    static const struct {
        const char *given;
        const char *wanted;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"a%40b.example", "a@b.example"},
        {"%2F%2f", "//"},
        {"100%", "100%"},
        {"%4", "%4"},
        {"%zz%4g", "%zz%4g"},
        {"%2525", "%25"},
        {"x%00y", "x%00y"},
        {"%C3%BC", "\xc3\xbc"},
        {"%%41", "%A"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[32];

        text_copy(text, sizeof text, cases[i].given);
        text_percent_decode(text);
        cr_expect_str_eq(text, cases[i].wanted, "%s gave %s", cases[i].given, text);
    }
}

Test(text_copy, cuts_what_does_not_fit)
{
    char out[4] = "xyz";

    text_copy(out, sizeof out, "ab");
    cr_assert_str_eq(out, "ab");
    text_copy(out, sizeof out, "abc");
    cr_assert_str_eq(out, "abc");
    text_copy(out, sizeof out, "abcdef");
    cr_assert_str_eq(out, "abc");
    text_copy(out, sizeof out, "");
    cr_assert_str_eq(out, "");
}

/* ---- controls ---- */

Test(text_plain_span, ends_at_every_control_wherever_it_stands)
{
    enum { LONG = 75 };

    for (int place = 0; place < LONG; place++)
        for (int byte = 0; byte < 256; byte++) {
            char text[LONG];
            bool is_control = byte < 0x20 || byte == 0x7f;

            memset(text, place % 2 ? ' ' : 'x', sizeof text);
            text[place] = (char)byte;
            cr_assert_eq(text_plain_span(text, sizeof text), (size_t)(is_control ? place : LONG),
                         "byte %d at %d", byte, place);
            cr_assert_eq(text_plain_span(text, (size_t)place), (size_t)place);
        }
}
