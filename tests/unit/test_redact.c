/* SPDX-License-Identifier: MIT
 *
 * What people must not see of a job: each kind of secret in each place, and what stays readable.
 */
#include "common/redact.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/json.h"
#include "common/mem.h"

Test(redact, secret_names)
{
    static const char *const secret[] = {
        "password",      "Password",     "PASSWORD",      "user_password", "password2",
        "payment_token", "paymentToken", "X-Auth-Token",  "apiKey",        "api_key",
        "JWT_SECRET",    "card_number",  "cardNumber",    "cvc",           "Authorization",
        "cookie",        "secret",       "client_secret", "refresh-token",
    };
    static const char *const plain[] = {
        "monkey",  "discard",  "order_id", "amount", "author",   "",
        "compass", "keyboard", "task",     "email",  "tokenize", "secretary",
    };

    for (size_t i = 0; i < COUNT_OF(secret); i++)
        cr_expect(redact_is_secret_name(secret[i]), "%s", secret[i]);
    for (size_t i = 0; i < COUNT_OF(plain); i++)
        cr_expect_not(redact_is_secret_name(plain[i]), "%s", plain[i]);
}

Test(redact, texts_lose_their_secrets)
{
    static const char *const texts[] = {
        "password=hunter2",
        "password: hunter2",
        "\"password\": \"hunter2\"",
        "{\\\"password\\\": \\\"hunter2\\\"}",
        "password = 'hunter2'",
        "user_password=hunter2&x=1",
        "Authorization: Bearer hunter2",
        "authorization: basic hunter2",
        "sent Bearer hunter2 to it",
        "https://user:hunter2@example.com/x",
        "cannot connect to postgresql://till:hunter2@db/till",
        "redis://:hunter2@host/0",
        "token \"a\" api_key:hunter2",
        "sk_live_hunter2",
        "key (sk_test_hunter2) is wrong",
        "whsec_hunter2",
    };

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        AUTO(mem_free) char *shown = redact_text(texts[i]);

        cr_expect_null(strstr(shown, "hunter2"), "%s gave %s", texts[i], shown);
        cr_expect_not_null(strstr(shown, REDACTED), "%s gave %s", texts[i], shown);
    }
}

Test(redact, texts_lose_card_numbers_wherever_they_stand)
{
    static const char *const texts[] = {
        "4242424242424242",
        "card 4242 4242 4242 4242 declined",
        "4242-4242-4242-4242",
        "x4242424242424242",
        "visa4242424242424242",
        "<4242424242424242>",
        "n:4242424242424242,",
        "_4242424242424242_",
        "\xc3\xa9"
        "4242424242424242",
        "12 4242424242424242 12",
        "id=7 n=4242424242424242",
    };

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        AUTO(mem_free) char *shown = redact_text(texts[i]);

        cr_expect_null(strstr(shown, "4242"), "%s gave %s", texts[i], shown);
    }
}

Test(redact, other_texts_stay)
{
    static const char *const texts[] = {
        "",
        "order 17 paid",
        "https://example.com/a:b?c=d",
        "0192e4a1-bcde-7f00-8abc-def012345678",
        "2026-11-21T19:19:16.082437Z",
        "the gateway answered 502: bad gateway",
        "\xc3\xa9t\xc3\xa9",
        "total 12000.99",
    };

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        AUTO(mem_free) char *shown = redact_text(texts[i]);

        cr_expect_str_eq(shown, texts[i]);
    }
}

Test(redact, json_of_any_shape)
{
    static const char text[] = "{\"order\": 7, \"password\": \"hunter2\", \"card\": {\"number\": "
                               "\"hunter2\", \"cvc\": 123},"
                               " \"list\": [{\"api_key\": [\"hunter2\"]}, \"Bearer hunter2\", "
                               "4242424242424242, null, true],"
                               " \"4242424242424242\": \"x\", \"note\": \"paid with 4242 4242 4242 "
                               "4242\", \"secret\": null}";
    AUTO(json_decref) json_t *value = NULL;
    AUTO(json_decref) json_t *shown = NULL;
    AUTO(mem_free) char *out = NULL;

    cr_assert_eq(json_read(text, strlen(text), sizeof text, &value, NULL), ERR_OK);
    shown = redact_json(value);
    cr_assert_not_null(shown);
    out = json_write(shown);
    cr_assert_null(strstr(out, "hunter2"), "%s", out);
    cr_assert_null(strstr(out, "4242"), "%s", out);
    cr_assert_null(strstr(out, "123"), "%s", out);
    cr_assert_eq(json_integer_value(json_object_get(shown, "order")), 7);
    cr_assert_str_eq(json_member_text(value, "password"), "hunter2", "a copy was made");
}
