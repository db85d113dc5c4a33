/* SPDX-License-Identifier: MIT
 *
 * Validation of bodies, and the search for card data.
 */
#include "api/fields.h"

#include <string.h>

#include <criterion/criterion.h>

#include "api/card.h"
#include "common/auto.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"

/* The errors of the fields that `read` asks for in `text`, as JSON. */
static char *errors_of(const char *text, void (*read)(struct fields *f))
{
    AUTO(json_decref) json_t *data = NULL;
    AUTO_VALUE(fields_release) struct fields f;

    cr_assert_eq(json_read(text, strlen(text), 4096, &data, NULL), ERR_OK, "%s", text);
    fields_begin_nested(&f, data);
    read(&f);
    fields_refuse_unknown(&f);
    return json_write(f.errors);
}

static void check(const char *text, void (*read)(struct fields *f), const char *expected)
{
    AUTO(mem_free) char *errors = errors_of(text, read);

    cr_assert_str_eq(errors, expected, "%s gave %s", text, errors);
}

static void read_name(struct fields *f) { (void)fields_text(f, "n", 5, 0); }

Test(fields, texts)
{
    check("{\"n\": \"abc\"}", read_name, "{}");
    check("{\"n\": \"  abcde \"}", read_name, "{}");
    check("{\"n\": \"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\"}", read_name, "{}");
    check("{\"n\": 12345}", read_name, "{}");
    check("{}", read_name, "{\"n\":[\"This field is required.\"]}");
    check("{\"n\": null}", read_name, "{\"n\":[\"This field may not be null.\"]}");
    check("{\"n\": \"\"}", read_name, "{\"n\":[\"This field may not be blank.\"]}");
    check("{\"n\": \" \\t\"}", read_name, "{\"n\":[\"This field may not be blank.\"]}");
    check("{\"n\": \"\xc2\xa0\xe3\x80\x80\xe2\x80\x83\"}", read_name,
          "{\"n\":[\"This field may not be blank.\"]}");
    check("{\"n\": \"abcdef\"}", read_name,
          "{\"n\":[\"Ensure this field has no more than 5 characters.\"]}");
    check("{\"n\": true}", read_name, "{\"n\":[\"Not a valid string.\"]}");
    check("{\"n\": []}", read_name, "{\"n\":[\"Not a valid string.\"]}");
    check("{\"n\": \"a\", \"id\": 1}", read_name, "{\"id\":[\"This field is not known.\"]}");
}

static void read_optional(struct fields *f)
{
    (void)fields_text(f, "n", 5, FIELD_OPTIONAL | FIELD_BLANK);
}

Test(fields, optional_texts)
{
    check("{}", read_optional, "{}");
    check("{\"n\": \"\"}", read_optional, "{}");
    check("{\"n\": null}", read_optional, "{\"n\":[\"This field may not be null.\"]}");
}

Test(fields, give_texts_trimmed_unless_raw)
{
    static const char wide[] = "\xe2\x80\xa8\x1f\xc2\x85\xc3\xa0\xe2\x80\x8b\xc2\xa0 ";
    AUTO(json_decref) json_t *data = json_pack("{s:s, s:s}", "n", " a b ", "w", wide);
    AUTO_VALUE(fields_release) struct fields f;

    fields_begin_nested(&f, data);
    cr_assert_str_eq(fields_text(&f, "n", 9, 0), "a b");
    cr_assert_str_eq(fields_text(&f, "n", 9, FIELD_RAW), " a b ");
    cr_assert_str_eq(fields_text(&f, "w", 9, 0), "\xc3\xa0\xe2\x80\x8b");
    cr_assert_str_eq(fields_text(&f, "w", 9, FIELD_RAW), wide);
}

static void read_decimal(struct fields *f) { (void)fields_decimal(f, "n", 100, 500); }

Test(fields, decimals)
{
    static const char *const good[] = {
        "\"1\"", "1", "5", "\"4.5\"", "\"+04.50\"", "\" 2. \"", "\"0000000000000000005\""};
    static const char *const bad[] = {"\"\"", "\"x\"", "\"1e0\"", "\"1,5\"", "\"NaN\"",
                                      "true", "\".\"", "\"-\"",   "\"0x1\"", "[1]"};
    char text[80];

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        cr_assert(text_format(text, sizeof text, "{\"n\": %s}", good[i]));
        check(text, read_decimal, "{}");
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        cr_assert(text_format(text, sizeof text, "{\"n\": %s}", bad[i]));
        check(text, read_decimal, "{\"n\":[\"A valid number is required.\"]}");
    }
    check("{\"n\": \".99\"}", read_decimal,
          "{\"n\":[\"Ensure this value is greater than or equal to 1.\"]}");
    check("{\"n\": \"-3\"}", read_decimal,
          "{\"n\":[\"Ensure this value is greater than or equal to 1.\"]}");
    check("{\"n\": \"5.01\"}", read_decimal,
          "{\"n\":[\"Ensure this value is less than or equal to 5.\"]}");
    check("{\"n\": \"1.000\"}", read_decimal,
          "{\"n\":[\"Ensure that there are no more than 2 decimal places.\"]}");
    check("{\"n\": 12345678901}", read_decimal,
          "{\"n\":[\"Ensure that there are no more than 10 digits before the decimal point.\"]}");
    check("{\"n\": \"12345678901.25\"}", read_decimal,
          "{\"n\":[\"Ensure that there are no more than 12 digits in total.\"]}");
    check("{\"n\": 4.5}", read_decimal,
          "{\"n\":[\"Send a decimal as a string, such as \\\"12.50\\\".\"]}");
    check("{\"n\": null}", read_decimal, "{\"n\":[\"This field may not be null.\"]}");
}

Test(fields, give_decimals_in_one_form)
{
    AUTO(json_decref) json_t *data = json_pack("{s:s}", "n", " +02.5");
    AUTO_VALUE(fields_release) struct fields f;

    fields_begin_nested(&f, data);
    cr_assert_str_eq(fields_decimal(&f, "n", 0, 1000), "2.50");
}

static void read_count(struct fields *f)
{
    int64_t value = 0;

    (void)fields_int(f, "n", 1, 9, &value);
}

Test(fields, integers)
{
    check("{\"n\": 1}", read_count, "{}");
    check("{\"n\": \"9\"}", read_count, "{}");
    check("{\"n\": 0}", read_count,
          "{\"n\":[\"Ensure this value is greater than or equal to 1.\"]}");
    check("{\"n\": 10}", read_count, "{\"n\":[\"Ensure this value is less than or equal to 9.\"]}");
    check("{\"n\": 1.0}", read_count, "{}");
    check("{\"n\": \" 9.00 \"}", read_count, "{}");
    check("{\"n\": \"9.\"}", read_count, "{}");
    check("{\"n\": \"+9\"}", read_count, "{}");
    check("{\"n\": \"+9.0\"}", read_count, "{}");
    check("{\"n\": \"+-9\"}", read_count, "{\"n\":[\"A valid integer is required.\"]}");
    check("{\"n\": \"++9\"}", read_count, "{\"n\":[\"A valid integer is required.\"]}");
    check("{\"n\": \"+\"}", read_count, "{\"n\":[\"A valid integer is required.\"]}");
    check("{\"n\": 1.5}", read_count, "{\"n\":[\"A valid integer is required.\"]}");
    check("{\"n\": \"1.50\"}", read_count, "{\"n\":[\"A valid integer is required.\"]}");
    check("{\"n\": \".0\"}", read_count, "{\"n\":[\"A valid integer is required.\"]}");
    check("{\"n\": 1e300}", read_count, "{\"n\":[\"A valid integer is required.\"]}");
    check("{\"n\": 20.0}", read_count,
          "{\"n\":[\"Ensure this value is less than or equal to 9.\"]}");
    check("{\"n\": \"x\"}", read_count, "{\"n\":[\"A valid integer is required.\"]}");
    check("{\"n\": \"\"}", read_count, "{\"n\":[\"A valid integer is required.\"]}");
    check("{\"n\": true}", read_count, "{\"n\":[\"A valid integer is required.\"]}");
    check("{\"n\": \"99999999999999999999\"}", read_count,
          "{\"n\":[\"A valid integer is required.\"]}");
    check("{\"n\": null}", read_count, "{\"n\":[\"This field may not be null.\"]}");
}

static void read_id(struct fields *f)
{
    int64_t value = 0;

    (void)fields_id(f, "n", &value);
}

Test(fields, ids)
{
    check("{\"n\": 7}", read_id, "{}");
    check("{\"n\": \"7\"}", read_id, "{}");
    check("{\"n\": \" 7 \"}", read_id, "{}");
    check("{\"n\": \"+7\"}", read_id, "{}");
    check("{\"n\": \"\"}", read_id, "{\"n\":[\"This field may not be null.\"]}");
    check("{\"n\": \" \"}", read_id,
          "{\"n\":[\"Incorrect type. Expected pk value, received str.\"]}");
    check("{\"n\": -7}", read_id, "{\"n\":[\"Invalid pk \\\"-7\\\" - object does not exist.\"]}");
    check("{\"n\": \"a\"}", read_id,
          "{\"n\":[\"Incorrect type. Expected pk value, received str.\"]}");
    check("{\"n\": [1]}", read_id,
          "{\"n\":[\"Incorrect type. Expected pk value, received list.\"]}");
    check("{\"n\": {}}", read_id,
          "{\"n\":[\"Incorrect type. Expected pk value, received dict.\"]}");
    check("{\"n\": 1.5}", read_id,
          "{\"n\":[\"Incorrect type. Expected pk value, received float.\"]}");
}

static void read_choice(struct fields *f)
{
    static const char *const choices[] = {"card", "paypal", NULL};

    (void)fields_choice(f, "n", choices);
}

Test(fields, choices)
{
    check("{\"n\": \"paypal\"}", read_choice, "{}");
    check("{\"n\": \"Card\"}", read_choice, "{\"n\":[\"\\\"Card\\\" is not a valid choice.\"]}");
    check("{\"n\": \"\"}", read_choice, "{\"n\":[\"\\\"\\\" is not a valid choice.\"]}");
    check("{\"n\": 1}", read_choice, "{\"n\":[\"\\\"1\\\" is not a valid choice.\"]}");
}

/* Bytes of half a character are no text that JSON could carry. */
Test(fields, a_long_choice_is_shown_to_its_last_whole_character)
{
    AUTO_VALUE(buf_release) struct buf sent;
    AUTO_VALUE(buf_release) struct buf told;

    buf_init(&sent, 1000);
    buf_init(&told, 1000);
    buf_add_str(&sent, "{\"n\": \"");
    buf_add_str(&told, "{\"n\":[\"\\\"");
    for (int i = 0; i < 100; i++) {
        buf_add_str(&sent, "\xe2\x82\xac");
        if (i < 66)
            buf_add_str(&told, "\xe2\x82\xac");
    }
    buf_add_str(&sent, "\"}");
    buf_add_str(&told, "\\\" is not a valid choice.\"]}");
    check(sent.data, read_choice, told.data);
}

static void read_mail(struct fields *f) { (void)fields_email(f, "n", 0); }

Test(fields, mail_addresses)
{
    static const char *const good[] = {"a@b.co", "a.b+c@x-y.example.com", "o'neil@a.b.co",
                                       "a@localhost"};
    static const char *const bad[] = {
        "nope",           "@b.co",         "a@",       "a@b",
        "a..b@c.de",      ".a@b.co",       "a.@b.co",  "a@-b.co",
        "a@b-.co",        "a@b..co",       "a b@c.de", "a@b.co\\r\\nBcc: x@y.zz",
        "a@b@c.de",       "\xc3\xa4@b.co", "a@.co",    "a@b.co.",
        "\\\"a\\\"@b.co", "a@b.c",         "a@b.co.d"};
    char text[200];

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        (void)snprintf(text, sizeof text, "{\"n\": \"%s\"}", good[i]);
        check(text, read_mail, "{}");
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        (void)snprintf(text, sizeof text, "{\"n\": \"%s\"}", bad[i]);
        check(text, read_mail, "{\"n\":[\"Enter a valid email address.\"]}");
    }
    check("{\"n\": [1]}", read_mail, "{\"n\":[\"Enter a valid email address.\"]}");
    check("{\"n\": true}", read_mail, "{\"n\":[\"Enter a valid email address.\"]}");
    check("{\"n\": null}", read_mail, "{\"n\":[\"This field may not be null.\"]}");
    check("{}", read_mail, "{\"n\":[\"This field is required.\"]}");
}

Test(card, is_found_wherever_it_stands)
{
    static const char *const with[] = {
        "{\"a\": \"4242424242424242\"}",
        "[\"x 4242 4242 4242 4242 y\"]",
        "{\"a\": [{\"b\": 4242424242424242}]}",
        "{\"4242424242424242\": 1}",
        "{\"a\": \"\\u0034242424242424242\"}",
        "{\"a\": 4242424242424242.0}",
        "{\"Card_Number\": 1}",
        "{\"x\": {\"cvc\": \"\"}}",
        "{\"a\": \"5555-5555-5555-4444\"}",
    };
    static const char *const without[] = {
        "{}",
        "{\"a\": \"42424242-4242-4242-8000-000000000000\"}",
        "{\"a\": 4242424242424241}",
        "{\"number\": \"1\", \"payment_token\": \"pm_card_visa\"}",
        "{\"a\": 1e300}",
        "null",
    };

    for (size_t i = 0; i < COUNT_OF(with); i++) {
        AUTO(json_decref) json_t *value = NULL;

        cr_assert_eq(json_read(with[i], strlen(with[i]), 999, &value, NULL), ERR_OK);
        cr_assert(card_is_in_json(value), "%s", with[i]);
    }
    for (size_t i = 0; i < COUNT_OF(without); i++) {
        AUTO(json_decref) json_t *value = NULL;

        cr_assert_eq(json_read(without[i], strlen(without[i]), 999, &value, NULL), ERR_OK);
        cr_assert_not(card_is_in_json(value), "%s", without[i]);
    }
}

Test(form, values_are_decoded)
{
    AUTO(mem_free) char *plain = form_value("a=1&b=x+y%20%C3%A4&c", "b");
    AUTO(mem_free) char *prefix = form_value("ab=1&a=2", "a");
    AUTO(mem_free) char *last = form_value("a=1&b=2&%61=3&c=4", "a");

    cr_assert_str_eq(plain, "x y \xc3\xa4");
    cr_assert_str_eq(prefix, "2");
    cr_assert_str_eq(last, "3", "as in Django and Tornado");
    cr_assert_null(form_value("a=%ff", "a"));
    cr_assert_null(form_value("a=%00", "a"));
    cr_assert_null(form_value("a=1", "b"));
}
