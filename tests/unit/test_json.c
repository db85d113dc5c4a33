/* SPDX-License-Identifier: MIT
 *
 * JSON from outside: what is refused, and that refusing repeats nothing of it.
 */
#include "common/json.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/buf.h"
#include "common/mem.h"

static enum err_code read(const char *text, json_t **ret_value, struct err *e)
{
    return json_read(text, strlen(text), 1000, ret_value, e);
}

Test(json_read, accepts_any_one_value)
{
    static const char *const good[] = {
        "{}",
        "[]",
        "null",
        "true",
        "0",
        "-1",
        "\"\"",
        " [1, 2.5, \"\\u00e9\"] ",
        "9223372036854775807",
        "{\"a\": {\"a\": 1}}",
        "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"",
    };

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        AUTO(json_decref) json_t *value = NULL;
        struct err e = {0};

        cr_expect_eq(read(good[i], &value, &e), ERR_OK, "%s: %s", good[i], e.text);
        cr_expect_not_null(value);
    }
}

Test(json_read, refuses)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "[1] [2]",
        "[1]x",
        "nul",
        "01",
        "+1",
        "1.",
        ".5",
        "NaN",
        "Infinity",
        "0x1",
        "1e999",
        "9223372036854775808",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\u0000\"",
        "\"tab\t\"",
        "\"\xff\"",
        "\"\xc0\xaf\"",
        "\"\xed\xa0\x80\"",
        "\"open",
        "\"\\",
        "/* */ 1",
        "{\"amount\": 1, \"amount\": 2}",
        "[{\"a\": {\"b\": 1, \"b\": 1}}]",
        "\xef\xbb\xbf{}",
        "]]]][[[[",
        "[[",
        "[}",
        "{\"a\"}",
        "{1: 2}",
    };

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        json_t *value = NULL;
        struct err e = {0};

        cr_expect_eq(read(bad[i], &value, &e), ERR_INVALID, "%s", bad[i]);
        cr_expect_null(value, "%s: written although refused", bad[i]);
        cr_expect_str_not_empty(e.text);
    }
}

Test(json_read, names_the_place)
{
    json_t *value = NULL;
    struct err e = {0};

    cr_assert_eq(read("{\"quantity\": x}", &value, &e), ERR_INVALID);
    cr_assert_not_null(strstr(e.text, "line 1 column 14"), "%s", e.text);
}

Test(json_read, names_a_byte_order_mark)
{
    AUTO(json_decref) json_t *value = NULL;
    struct err e = {0};

    cr_assert_eq(read("\xef\xbb\xbf{}", &value, &e), ERR_INVALID);
    cr_assert_not_null(strstr(e.text, "byte order mark"));
}

Test(json_read, repeats_nothing_of_the_text)
{
    static const char *const secrets[] = {
        "{\"password\": hunter2}",          "{\"number\": 4242424242424242 4242424242424242}",
        "{\"password\": \"hunter2",         "[\"4242424242424242\" \"hunter2\"]",
        "{\"hunter2\": 1, \"hunter2\": 2}", "hunter2",
    };

    for (size_t i = 0; i < COUNT_OF(secrets); i++) {
        json_t *value = NULL;
        struct err e = {0};

        cr_expect_eq(read(secrets[i], &value, &e), ERR_INVALID);
        cr_expect_null(strstr(e.text, "hunter2"), "%s", e.text);
        cr_expect_null(strstr(e.text, "4242"), "%s", e.text);
        cr_expect_null(strstr(e.detail, "hunter2"), "%s", e.detail);
    }
}

static void add_nested(struct buf *b, const char *open, const char *close, int depth)
{
    for (int i = 0; i < depth; i++)
        buf_add_str(b, open);
    for (int i = 0; i < depth; i++)
        buf_add_str(b, close);
}

Test(json_read, depth_is_bounded)
{
    AUTO_VALUE(buf_release) struct buf b;
    AUTO(json_decref) json_t *value = NULL;
    json_t *refused = NULL;
    struct err e = {0};

    buf_init(&b, 100000);
    add_nested(&b, "[", "]", JSON_DEPTH_MAX);
    cr_assert_eq(json_read(b.data, b.len, b.len, &value, NULL), ERR_OK);
    buf_clear(&b);
    add_nested(&b, "[", "]", JSON_DEPTH_MAX + 1);
    cr_assert_eq(json_read(b.data, b.len, b.len, &refused, &e), ERR_INVALID);
    cr_assert_not_null(strstr(e.text, "deeper"), "%s", e.text);
    buf_clear(&b);
    add_nested(&b, "[{\"\\\"\":", "}]", 20);
    cr_assert_eq(json_read(b.data, b.len, b.len, &refused, NULL), ERR_INVALID);
    buf_clear(&b);
    add_nested(&b, "[", "", 50000);
    cr_assert_eq(json_read(b.data, b.len, b.len, &refused, NULL), ERR_INVALID);
    cr_assert_null(refused);
}

Test(json_read, many_siblings_are_not_depth)
{
    AUTO(json_decref) json_t *value = NULL;
    AUTO_VALUE(buf_release) struct buf b;

    buf_init(&b, 1000);
    buf_add_char(&b, '[');
    for (int i = 0; i < 100; i++)
        buf_add_str(&b, i ? ",[{}]" : "[{}]");
    buf_add_char(&b, ']');
    cr_assert_eq(json_read(b.data, b.len, 1000, &value, NULL), ERR_OK);
    cr_assert_eq(json_array_size(value), 100);
}

Test(json_read, size_is_bounded)
{
    AUTO(json_decref) json_t *value = NULL;
    json_t *refused = NULL;
    struct err e = {0};

    cr_assert_eq(json_read("[1,2]", 5, 5, &value, NULL), ERR_OK);
    cr_assert_eq(json_read("[1,2]", 5, 4, &refused, &e), ERR_INVALID);
    cr_assert_null(refused);
    cr_assert_not_null(strstr(e.text, "4"), "%s", e.text);
}

Test(json_read, ends_at_its_length)
{
    AUTO(json_decref) json_t *value = NULL;
    json_t *refused = NULL;

    cr_assert_eq(json_read("[1]garbage", 3, 100, &value, NULL), ERR_OK);
    cr_assert_eq(json_read("[1]\0", 4, 100, &refused, NULL), ERR_INVALID, "a NUL is no blank");
}

Test(json_write, is_compact_and_sorted)
{
    AUTO(json_decref) json_t *value = NULL;
    AUTO(mem_free) char *text = NULL;

    cr_assert_eq(read("{\"b\": [1, true, null], \"a\": \"\\u00e9\"}", &value, NULL), ERR_OK);
    text = json_write(value);
    cr_assert_str_eq(text, "{\"a\":\"\xc3\xa9\",\"b\":[1,true,null]}");
}

Test(json_write, takes_scalars)
{
    AUTO(json_decref) json_t *value = json_string("x");
    AUTO(mem_free) char *text = json_write(value);

    cr_assert_str_eq(text, "\"x\"");
}

Test(json_member_text, only_strings_count)
{
    AUTO(json_decref) json_t *object = NULL;
    AUTO(json_decref) json_t *array = json_array();

    cr_assert_eq(read("{\"s\": \"x\", \"n\": 1, \"z\": null}", &object, NULL), ERR_OK);
    cr_assert_str_eq(json_member_text(object, "s"), "x");
    cr_assert_null(json_member_text(object, "n"));
    cr_assert_null(json_member_text(object, "z"));
    cr_assert_null(json_member_text(object, "absent"));
    cr_assert_null(json_member_text(array, "s"));
    cr_assert_null(json_member_text(NULL, "s"));
}

Test(json_is_too_fine, numbers_that_no_numeric_holds)
{
    cr_assert(json_is_too_fine("[1e-16384]"));
    cr_assert(json_is_too_fine("[1.5e-16383]"));
    cr_assert(json_is_too_fine("{\"a\": [-0.0E-99999999999999999999]}"));
    cr_assert(json_is_too_fine("[0e99999999999999999999]"));
    cr_assert_not(json_is_too_fine("[1e-16383, 1.5e-16382, 1e+300, -0.25, 0]"));
    cr_assert_not(json_is_too_fine("[\"1e-99999\", \"\\\"1e-99999\", true]"));
    cr_assert_not(json_is_too_fine("{\"1e-99999\": null}"));
}
