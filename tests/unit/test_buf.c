/* SPDX-License-Identifier: MIT
 *
 * Bounded buffers: the ceiling, the sticky overflow, JSON strings of hostile bytes.
 */
#include "common/buf.h"

#include <stdint.h>
#include <string.h>

#include <criterion/criterion.h>
#include <jansson.h>

#include "common/auto.h"
#include "common/mem.h"

Test(buf, grows_to_its_ceiling_and_not_beyond)
{
    AUTO_VALUE(buf_release) struct buf b;

    buf_init(&b, 1000);
    for (int i = 0; i < 1000; i++)
        buf_add_char(&b, 'x');
    cr_assert_eq(b.len, 1000);
    cr_assert_not(b.overflow);
    buf_add_char(&b, 'x');
    cr_assert(b.overflow);
    cr_assert_eq(b.len, 1000);
    cr_assert_eq(strlen(b.data), 1000);
}

Test(buf, overflow_is_sticky_even_for_what_would_fit)
{
    AUTO_VALUE(buf_release) struct buf b;

    buf_init(&b, 4);
    buf_add_str(&b, "12345");
    buf_add_str(&b, "1");
    cr_assert(b.overflow);
    cr_assert_eq(b.len, 0);
    cr_assert_str_empty(b.data);
    buf_clear(&b);
    buf_add_str(&b, "1234");
    cr_assert_not(b.overflow);
    cr_assert_str_eq(b.data, "1234");
}

Test(buf, a_huge_length_does_not_wrap_around)
{
    AUTO_VALUE(buf_release) struct buf b;

    buf_init(&b, 16);
    buf_add_str(&b, "abc");
    buf_add(&b, "abc", SIZE_MAX - 2);
    cr_assert(b.overflow);
    cr_assert_str_eq(b.data, "abc");
}

Test(buf, zero_ceiling_takes_nothing_but_nothing)
{
    AUTO_VALUE(buf_release) struct buf b;

    buf_init(&b, 0);
    buf_add_str(&b, "");
    cr_assert_not(b.overflow);
    buf_add_char(&b, 'a');
    cr_assert(b.overflow);
    cr_assert_str_empty(b.data);
}

Test(buf, keeps_nul_bytes)
{
    AUTO_VALUE(buf_release) struct buf b;

    buf_init(&b, 16);
    buf_add(&b, "a\0b", 3);
    cr_assert_eq(b.len, 3);
    cr_assert_eq(memcmp(b.data, "a\0b", 4), 0);
}

Test(buf, format_fits_exactly_or_not_at_all)
{
    AUTO_VALUE(buf_release) struct buf b;

    buf_init(&b, 300);
    buf_addf(&b, "%0300d", 7);
    cr_assert_not(b.overflow);
    cr_assert_eq(b.len, 300);
    buf_clear(&b);
    buf_addf(&b, "%0301d", 7);
    cr_assert(b.overflow);
    cr_assert_eq(b.len, 0);
}

Test(buf, take_hands_over_and_leaves_a_usable_buffer)
{
    AUTO_VALUE(buf_release) struct buf b;
    AUTO(mem_free) char *text = NULL;

    buf_init(&b, 8);
    buf_add_str(&b, "one");
    text = buf_take(&b);
    cr_assert_str_eq(text, "one");
    cr_assert_eq(b.len, 0);
    buf_add_str(&b, "12345678");
    cr_assert_not(b.overflow);
    buf_add_char(&b, '9');
    cr_assert(b.overflow, "the ceiling is kept");
}

Test(buf, released_twice_does_no_harm)
{
    struct buf b;

    buf_init(&b, 8);
    buf_release(&b);
    buf_release(&b);
    cr_assert_null(b.data);
}

struct json_case {
    const char *text;
    const char *json;
};

Test(buf, json_escapes)
{
    static const struct json_case cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"\"\\/", "\"\\\"\\\\/\""},
        {"\n\r\t\b\f", "\"\\n\\r\\t\\u0008\\u000c\""},
        {"\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\""},
        {"\x1b[31mred", "\"\\u001b[31mred\""},
        /* C1 controls: U+009B alone starts an escape sequence in a terminal. */
        {"\xc2\x80\xc2\x9b\xc2\x9f", "\"\\u0080\\u009b\\u009f\""},
        {"\xc2\xa0", "\"\xc2\xa0\""},
        /* Line separators end a line for some readers of logs and of JavaScript. */
        {"\xe2\x80\xa8\xe2\x80\xa9", "\"\\u2028\\u2029\""},
        /* What turns the direction of a terminal's line: marks, embeddings, isolates. */
        {"\xe2\x80\x8e\xe2\x80\x8f\xe2\x80\xaa\xe2\x80\xae", "\"\\u200e\\u200f\\u202a\\u202e\""},
        {"\xe2\x81\xa6\xe2\x81\xa9", "\"\\u2066\\u2069\""},
        {"\xe2\x80\x8d\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa",
         "\"\xe2\x80\x8d\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa\""},
        {"\xe2\x80\xa7\xe2\x80\xaf", "\"\xe2\x80\xa7\xe2\x80\xaf\""},
        {"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x9b\x92", "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x9b\x92\""},
        {"\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\""},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO_VALUE(buf_release) struct buf b;

        buf_init(&b, 1000);
        buf_add_json(&b, cases[i].text);
        cr_expect_str_eq(b.data, cases[i].json, "case %zu: %s", i, b.data);
    }
}

/* Ill-formed sequences of Unicode 15, table 3-7 and section 3.9, at the end of a text and before
 * more of it: each gives at least one U+FFFD, swallows no good byte, and stays valid JSON. */
Test(buf, json_replaces_what_is_not_utf8)
{
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\xaf",
        "\xc1\xbf",
        "\xc3",
        "\xe0\x80\xaf",
        "\xe0\x9f\xbf",
        "\xe2\x82",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xe9",
        "\xf0\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf0\x9f\x9b",
        "\xf0\x9f",
        "\xf0",
        "\xf5\x80\x80",
        "\xf4\x90\x80\x80",
        "\xff",
        "\xfe\xff",
        "\xf8\x88\x80",
        "\xc3\x28",
        "\xe2\x28\xa1",
        "\xf0\x28\x8c\xbc",
    };

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        for (int tail = 0; tail < 2; tail++) {
            AUTO_VALUE(buf_release) struct buf b;
            char text[16];
            json_t *value;

            cr_assert(text_format(text, sizeof text, "<%s%s", bad[i], tail ? ">" : ""));
            buf_init(&b, 1000);
            buf_add_json(&b, text);
            value = json_loads(b.data, JSON_DECODE_ANY, NULL);
            cr_assert_not_null(value, "case %zu: %s", i, b.data);
            cr_expect_not_null(strstr(b.data, "\\ufffd"), "case %zu: %s", i, b.data);
            cr_expect_eq(b.data[1], '<');
            if (tail)
                cr_expect_eq(b.data[b.len - 2], '>', "case %zu: %s", i, b.data);
            json_decref(value);
        }
    }
}

/* Long texts are looked through eight bytes at a time: what a byte gives alone it gives anywhere.
 */
Test(buf, json_of_each_byte_at_each_place)
{
    enum { LONG = 20 };

    for (int byte = 1; byte < 0x80; byte++) {
        AUTO_VALUE(buf_release) struct buf alone;
        const char short_text[] = {(char)byte, '\0'};

        buf_init(&alone, 100);
        buf_add_json(&alone, short_text);
        for (int place = 0; place < LONG; place++) {
            AUTO_VALUE(buf_release) struct buf b;
            char text[LONG + 1];
            char wanted[100];

            memset(text, 'a', LONG);
            text[LONG] = '\0';
            text[place] = (char)byte;
            cr_assert(text_format(wanted, sizeof wanted, "\"%.*s%.*s%s\"", place, text,
                                  (int)alone.len - 2, alone.data + 1, text + place + 1));
            buf_init(&b, 100);
            buf_add_json(&b, text);
            cr_expect_str_eq(b.data, wanted, "byte %d at %d", byte, place);
        }
    }
}

Test(buf, json_that_does_not_fit_says_so)
{
    AUTO_VALUE(buf_release) struct buf b;

    buf_init(&b, 4);
    buf_add_json(&b, "abc");
    cr_assert(b.overflow);
}

/* ---- in the caller's memory ---- */

Test(buf, stays_in_the_callers_memory_while_it_fits)
{
    AUTO_VALUE(buf_release) struct buf b;
    char space[8] = "before";

    buf_init_in(&b, space, sizeof space, 100);
    cr_expect_str_empty(b.data);
    buf_add_str(&b, "1234567");
    cr_expect_eq(b.data, space);
    cr_expect_str_eq(space, "1234567");
    buf_clear(&b);
    cr_expect_str_empty(space);
}

Test(buf, leaves_the_callers_memory_with_all_that_was_in_it)
{
    AUTO_VALUE(buf_release) struct buf b;
    char space[8];

    for (int first = 0; first < 12; first++) {
        char wanted[24];

        buf_init_in(&b, space, sizeof space, 20);
        for (int i = 0; i < first; i++)
            buf_add_char(&b, 'a');
        buf_addf(&b, "%s", "bcdefgh");
        cr_assert(text_format(wanted, sizeof wanted, "%.*sbcdefgh", first, "aaaaaaaaaaaa"));
        cr_expect_str_eq(b.data, wanted);
        cr_expect_eq(b.data == space, strlen(wanted) < sizeof space, "%d", first);
        buf_add_str(&b, "more than is allowed");
        cr_expect(b.overflow);
        cr_expect_str_eq(b.data, wanted);
        buf_release(&b);
    }
    buf_init(&b, 1);
}

Test(buf, gives_away_a_copy_of_what_is_the_callers)
{
    AUTO(mem_free) char *text = NULL;
    AUTO_VALUE(buf_release) struct buf b;
    char space[8];

    buf_init_in(&b, space, sizeof space, 100);
    buf_add_str(&b, "abc");
    text = buf_take(&b);
    cr_expect_str_eq(text, "abc");
    cr_expect_neq(text, space);
    buf_add_str(&b, "another");
    cr_expect_str_eq(text, "abc");
    cr_expect_str_eq(b.data, "another");
}

Test(buf, json_fills_the_callers_memory_to_its_end)
{
    AUTO_VALUE(buf_release) struct buf b;
    char space[8];

    buf_init_in(&b, space, sizeof space, 7);
    buf_add_json(&b, "abcde");
    cr_expect_str_eq(space, "\"abcde\"");
    cr_expect_not(b.overflow);
    buf_clear(&b);
    buf_add_json(&b, "abcdef");
    cr_expect(b.overflow);
}

Test(text_format, says_whether_all_of_it_fitted)
{
    char out[4];

    cr_assert(text_format(out, sizeof out, "%d", 123));
    cr_assert_str_eq(out, "123");
    cr_assert_not(text_format(out, sizeof out, "%d", 1234));
    cr_assert_str_eq(out, "123");
}

Test(buf, adds_integers_of_any_size)
{
    static const struct {
        int64_t number;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-1, "-1"},
        {10, "10"},
        {4294967295, "4294967295"},
        {4294967296, "4294967296"},
        {-42949672960, "-42949672960"},
        {1000000000000000000, "1000000000000000000"},
        {INT64_MAX, "9223372036854775807"},
        {INT64_MIN, "-9223372036854775808"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO_VALUE(buf_release) struct buf b;

        buf_init(&b, 30);
        buf_add_int(&b, cases[i].number);
        cr_expect_str_eq(b.data, cases[i].text);
    }
}

Test(buf, text_from_outside_has_no_control_characters)
{
    AUTO_VALUE(buf_release) struct buf b;

    buf_init(&b, 100);
    buf_add_text(&b, "a\x1b[1m\x7f \xc2\x9b"
                     "2J \xc2\x85 \xc2\xa0 \xc3\xbc \xff");
    cr_assert_str_eq(b.data, "a [1m   2J   \xc2\xa0 \xc3\xbc \xef\xbf\xbd");
}
