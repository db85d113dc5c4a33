/* SPDX-License-Identifier: MIT
 *
 * Limits: rates as text, and what makes sense.
 */
#include "common/limit.h"

#include <criterion/criterion.h>

#include "common/auto.h"

Test(limit, rates_are_read_and_written_back)
{
    static const struct {
        const char *text;
        int64_t rate;
        int64_t per_seconds;
    } cases[] = {{"1/s", 1, 1},    {"10/s", 10, 1},           {"600/m", 600, 60},
                 {"1/h", 1, 3600}, {"1000000/s", 1000000, 1}, {"007/m", 7, 60}};

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct limit limit = {0};
        char text[LIMIT_RATE_SIZE];

        cr_assert(limit_parse_rate(cases[i].text, &limit.rate, &limit.per_seconds), "%s",
                  cases[i].text);
        cr_expect_eq(limit.rate, cases[i].rate);
        cr_expect_eq(limit.per_seconds, cases[i].per_seconds);
        limit_rate_text(&limit, text);
        cr_expect_str_eq(text, *cases[i].text == '0' ? "7/m" : cases[i].text);
    }
}

Test(limit, what_is_no_rate_is_refused_and_writes_nothing)
{
    static const char *const cases[] = {"",
                                        "10",
                                        "10/",
                                        "/s",
                                        "10/d",
                                        "10/ss",
                                        "0/s",
                                        "-1/s",
                                        "1.5/s",
                                        " 1/s",
                                        "1/s ",
                                        "1 /s",
                                        "1/S",
                                        "x/s",
                                        "1//s",
                                        "1000001/s",
                                        "99999999999999999999/s",
                                        "1/s/m",
                                        "10/min"};

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t rate = -1;
        int64_t per_seconds = -1;

        cr_expect_not(limit_parse_rate(cases[i], &rate, &per_seconds), "\"%s\"", cases[i]);
        cr_expect_eq(rate, -1);
        cr_expect_eq(per_seconds, -1);
    }
}

Test(limit, without_a_rate_its_text_is_empty)
{
    struct limit limit = {.concurrency = 3};
    char text[LIMIT_RATE_SIZE] = "x";

    limit_rate_text(&limit, text);
    cr_expect_str_eq(text, "");
}

Test(limit, a_burst_is_what_a_second_brings)
{
    cr_expect_eq(limit_default_burst(10, 1), 10);
    cr_expect_eq(limit_default_burst(600, 60), 10);
    cr_expect_eq(limit_default_burst(90, 60), 1);
    cr_expect_eq(limit_default_burst(1, 3600), 1);
}

Test(limit, what_makes_sense)
{
    static const struct {
        struct limit limit;
        bool ok;
    } cases[] = {
        {{LIMIT_QUEUE, "mail", 1, 0, 0, 0}, true},
        {{LIMIT_TASK, "a.b", 0, 10, 60, 1}, true},
        {{LIMIT_KEY, "tenant:*", 5, 10, 3600, 10}, true},
        {{LIMIT_KEY, "Grüße 7", 5, 0, 0, 0}, true},
        {{LIMIT_KEY, "*", 5, 0, 0, 0}, true},
        {{LIMIT_QUEUE, "mail", 0, 0, 0, 0}, false},
        {{LIMIT_QUEUE, "", 1, 0, 0, 0}, false},
        {{LIMIT_QUEUE, "a b", 1, 0, 0, 0}, false},
        {{LIMIT_TASK, "a*", 1, 0, 0, 0}, false},
        {{LIMIT_KEY, "a\nb", 1, 0, 0, 0}, false},
        {{LIMIT_KEY, "\xff", 1, 0, 0, 0}, false},
        {{LIMIT_QUEUE, "mail", -1, 0, 0, 0}, false},
        {{LIMIT_QUEUE, "mail", LIMIT_CONCURRENCY_MAX + 1, 0, 0, 0}, false},
        {{LIMIT_QUEUE, "mail", 0, 10, 7, 1}, false},
        {{LIMIT_QUEUE, "mail", 0, 10, 60, 0}, false},
        {{LIMIT_QUEUE, "mail", 1, 0, 0, 5}, false},
        {{LIMIT_QUEUE, "mail", 0, LIMIT_RATE_MAX + 1, 1, 5}, false},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = {0};

        cr_expect_eq(limit_check(&cases[i].limit, &e) == ERR_OK, cases[i].ok, "case %zu: %s", i,
                     e.text);
        cr_expect_eq(*e.text != '\0', !cases[i].ok);
    }
}

Test(limit, scope_names_round_trip)
{
    enum limit_scope scope;

    for (int i = 0; i < LIMIT_SCOPE_COUNT; i++) {
        cr_expect(limit_scope_parse(limit_scope_name((enum limit_scope)i), &scope));
        cr_expect_eq(scope, (enum limit_scope)i);
    }
    cr_expect_not(limit_scope_parse("keys", &scope));
    cr_expect_not(limit_scope_parse("", &scope));
}
