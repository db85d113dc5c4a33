/* SPDX-License-Identifier: MIT
 *
 * The visible side of a job: what its task declares, and what stands in values that are too long or
 * too strange to be read, appears in none of its texts.
 */
#include "common/job_shown.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/redact.h"

static const char names[] = "[\"iban\", \"1\", \"result\"]";

static void expect_json(const json_t *value, const char *expected)
{
    AUTO(mem_free) char *text = value ? json_write(value) : NULL;

    cr_expect_str_eq(text ? text : "none", expected);
}

Test(job_shown, declared_names_and_places)
{
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};

    job_shown_make(
        &(struct job_view){.args = "[\"a\", \"DE89\", null]",
                           .kwargs = "{\"IBAN\": {\"x\": [4711, \"GB33\"]}, \"b\": [1, 2]}",
                           .result = "{\"ok\": \"yes\"}",
                           .error = "DE89 and GB33 and 4711 and yes",
                           .secrets = names,
                           .shows_max = INT64_MAX},
        &shown);
    expect_json(shown.args, "[\"a\",\"[redacted]\",null]");
    expect_json(shown.kwargs, "{\"IBAN\":\"[redacted]\",\"b\":[1,2]}");
    expect_json(shown.result, "\"[redacted]\"");
    cr_expect_str_eq(shown.error, "[redacted] and [redacted] and [redacted] and [redacted]");
}

Test(job_shown, short_values_only_where_they_stand_alone)
{
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};

    job_shown_make(&(struct job_view){.kwargs = "{\"iban\": 7}",
                                      .error = "code 7, not 17 or 7a; 7",
                                      .secrets = names,
                                      .shows_max = INT64_MAX},
                   &shown);
    cr_expect_str_eq(shown.error, "code [redacted], not 17 or 7a; [redacted]");
}

Test(job_shown, what_stands_in_long_values_is_hidden_elsewhere)
{
    AUTO_VALUE(secrets_release) struct secrets in_long = {0};
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
    AUTO(json_decref) json_t *long_value = json_pack("{s:s}", "iban", "DE89370400440532013000");

    secrets_declare(&in_long, names);
    secrets_collect(&in_long, long_value, SECRETS_OF_OBJECT);
    job_shown_make(&(struct job_view){.args = "[\"for DE89370400440532013000\"]",
                                      .kwargs_bytes = 100000,
                                      .error = "no DE89370400440532013000",
                                      .secrets = names,
                                      .in_long = &in_long,
                                      .shows_max = 4096},
                   &shown);
    expect_json(shown.args, "[\"for [redacted]\"]");
    cr_expect_str_eq(shown.error, "no [redacted]");
    cr_expect_null(shown.kwargs);
}

Test(job_shown, what_cannot_be_read_hides_all_that_might_repeat_it)
{
    static const char *const strange[] = {
        "[\"a\", 1000000000000000000000000000000, \"DE89\"]",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"DE89\"]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    };

    for (size_t i = 0; i < COUNT_OF(strange); i++) {
        AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
        AUTO_VALUE(job_shown_release) struct job_shown plain = {0};
        struct job_view job = {.args = strange[i],
                               .kwargs = "{\"a\": \"b DE89\"}",
                               .error = "no DE89",
                               .secrets = names,
                               .shows_max = INT64_MAX};

        job_shown_make(&job, &shown);
        expect_json(shown.args, "\"[redacted]\"");
        expect_json(shown.kwargs, "{\"[redacted]\":\"[redacted]\"}");
        cr_expect_str_eq(shown.error, REDACTED);
        job.secrets = NULL; /* nothing is declared: it is shown as it is */
        job_shown_make(&job, &plain);
        cr_expect_str_eq(plain.error, "no DE89");
    }
}

Test(job_shown, more_secrets_than_are_remembered)
{
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
    AUTO(json_decref) json_t *many = json_array();
    AUTO(json_decref) json_t *kwargs = NULL;
    AUTO(mem_free) char *text = NULL;

    for (int i = 0; i < SECRETS_VALUES_MAX + 1; i++)
        (void)json_array_append_new(many, json_integer(100000 + i));
    kwargs = json_pack("{s:O}", "iban", many);
    text = json_write(kwargs);
    job_shown_make(
        &(struct job_view){
            .kwargs = text, .error = "one of them", .secrets = names, .shows_max = INT64_MAX},
        &shown);
    cr_expect_str_eq(shown.error, REDACTED);
}

static bool finds(const char *words, const struct job_view *job)
{
    AUTO_VALUE(job_search_release) struct job_search search = {0};
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
    AUTO_VALUE(job_words_release) struct job_words texts = {0};

    cr_assert_eq(job_search_parse(words, &search, NULL), ERR_OK, "%s", words);
    job_shown_make(job, &shown);
    job_words_make(job, &shown, &texts);
    return job_search_matches(&search, job, &shown, &texts);
}

Test(job_shown, words_are_looked_for_in_what_is_shown)
{
    const struct job_view job = {.task = "shop.pay",
                                 .queue = "money",
                                 .state = JOB_FAILURE,
                                 .worker = "host:3",
                                 .args = "[\"order-17\", \"DE89\"]",
                                 .kwargs =
                                     "{\"user\": 7, \"note\": \"Two Words\", \"password\": \"x\"}",
                                 .error = "gateway answered 503 for DE89",
                                 .secrets = names,
                                 .shows_max = INT64_MAX};
    static const char *const found[] = {
        "order-17",
        "ORDER",
        "kwargs:user=7",
        "\"two words\"",
        "kwargs:note=words",
        "error:503",
        "state:failure queue:money",
        "nothing OR worker:host",
        "name:pay (503 AND gateway)",
    };
    static const char *const missed[] = {
        "DE89",     "error:DE89",    "args:DE89",        "kwargs:user=17", "kwargs:password=x",
        "args:503", "state:success", "order-17 nothing",
    };

    for (size_t i = 0; i < COUNT_OF(found); i++)
        cr_expect(finds(found[i], &job), "%s", found[i]);
    for (size_t i = 0; i < COUNT_OF(missed); i++)
        cr_expect_not(finds(missed[i], &job), "%s", missed[i]);
}
