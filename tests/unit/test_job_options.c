/* SPDX-License-Identifier: MIT
 *
 * What is right in the options of a job: limits met exactly, and what a client may do wrong.
 */
#include "common/job_options.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/json.h"

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static struct buf json;

static void start(void) { buf_init(&json, 1024 * 1024); }
static void finish(void) { buf_release(&json); }

TestSuite(job_options, .init = start, .fini = finish);

/* `count` headers "h00".. with values of `len` bytes. */
static const char *headers_of(int count, int len)
{
    buf_clear(&json);
    buf_add_char(&json, '{');
    for (int i = 0; i < count; i++) {
        buf_addf(&json, "%s\"h%02d\":\"", i ? "," : "", i);
        for (int k = 0; k < len; k++)
            buf_add_char(&json, 'x');
        buf_add_char(&json, '"');
    }
    buf_add_char(&json, '}');
    return json.data;
}

Test(job_options, takes_headers_up_to_their_limits)
{
    cr_expect_eq(job_headers_check("{}", NULL), ERR_OK);
    cr_expect_eq(
        job_headers_check("{\"a.B_9-\": \"\", \"b\": \"\\u00fc \\n \xf0\x9f\x8e\x89\"}", NULL),
        ERR_OK);
    cr_expect_eq(job_headers_check(headers_of(JOB_HEADERS_MAX, 0), NULL), ERR_OK);
    cr_expect_eq(job_headers_check(headers_of(1, JOB_HEADERS_BYTES - 3), NULL), ERR_OK);
    cr_expect_eq(job_headers_check(headers_of(32, 253), NULL), ERR_OK);
}

Test(job_options, refuses_headers_beyond_them)
{
    cr_expect_eq(job_headers_check(headers_of(JOB_HEADERS_MAX + 1, 0), NULL), ERR_INVALID);
    cr_expect_eq(job_headers_check(headers_of(1, JOB_HEADERS_BYTES - 2), NULL), ERR_INVALID);
    cr_expect_eq(job_headers_check(headers_of(32, 254), NULL), ERR_INVALID);
    cr_expect_eq(job_headers_check(headers_of(1, JOB_HEADERS_JSON), NULL), ERR_INVALID);
}

Test(job_options, refuses_what_are_no_headers)
{
    static const char *const bad[] = {
        "",
        "x",
        "null",
        "[]",
        "\"a\"",
        "{\"a\": 1}",
        "{\"a\": null}",
        "{\"a\": [\"b\"]}",
        "{\"a\": {\"b\": \"c\"}}",
        "{\"\": \"b\"}",
        "{\"a b\": \"c\"}",
        "{\"a:b\": \"c\"}",
        "{\"a\\r\\nb\": \"c\"}",
        "{\"\xc3\xbc\": \"c\"}",
        "{\"a\": \"\\u0000\"}",
        "{\"a\": \"\xff\"}",
        "{\"a\": \"b\", \"a\": \"c\"}",
        "{\"a\": \"b\"} {}",
        "{\"a\": \"b\"",
    };

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err e = {0};

        cr_expect_eq(job_headers_check(bad[i], &e), ERR_INVALID, "%s", bad[i]);
        cr_expect_neq(e.text[0], '\0');
    }
}

static enum err_code limits_of(const char *soft, const char *hard,
                               struct job_time_limits *ret_limits)
{
    AUTO(json_decref) json_t *headers = json_object();

    if (soft)
        json_object_set_new(headers, JOB_HEADER_SOFT_TIME_LIMIT, json_string(soft));
    if (hard)
        json_object_set_new(headers, JOB_HEADER_TIME_LIMIT, json_string(hard));
    return job_time_limits_read(headers, ret_limits, NULL);
}

Test(job_options, two_headers_are_the_time_limits_of_the_job)
{
    static const char *const bad[] = {
        "",    "0",   "0.0", "-1",  "+1",   " 1",     "1 ",     "1.",           ".5",       "1.2.3",
        "1e3", "nan", "1s",  "1,5", "0x10", "0.0001", "1.0000", "31536000.001", "123456789"};
    struct job_time_limits limits = {7, 7};

    cr_expect_eq(job_time_limits_read(NULL, &limits, NULL), ERR_OK);
    cr_expect(limits.soft_ms == 0 && limits.hard_ms == 0);
    cr_expect_eq(limits_of("0.5", "90", &limits), ERR_OK);
    cr_expect(limits.soft_ms == 500 && limits.hard_ms == 90000);
    cr_expect_eq(limits_of("007.25", NULL, &limits), ERR_OK);
    cr_expect(limits.soft_ms == 7250 && limits.hard_ms == 0);
    cr_expect_eq(limits_of("0.001", "31536000", &limits), ERR_OK);
    cr_expect(limits.soft_ms == 1 && limits.hard_ms == INT64_C(31536000000));
    cr_expect_eq(limits_of("3", "3", &limits), ERR_OK);
    cr_expect_eq(limits_of("3.001", "3", &limits), ERR_INVALID);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        cr_expect_eq(limits_of(bad[i], NULL, &limits), ERR_INVALID, "%s", bad[i]);
        cr_expect_eq(limits_of(NULL, bad[i], &limits), ERR_INVALID, "%s", bad[i]);
    }
    cr_expect_eq(job_headers_check("{\"time_limit\": \"soon\"}", NULL), ERR_INVALID);
}

static enum err_code check_key(const char *key)
{
    return job_options_check(&(struct job_new){.task = "t", .unique_key = key}, NULL);
}

Test(job_options, a_unique_key_is_printable_text_of_200_bytes)
{
    char longest[JOB_UNIQUE_KEY_MAX + 2];

    memset(longest, 'k', sizeof longest);
    longest[JOB_UNIQUE_KEY_MAX] = '\0';
    cr_expect_eq(check_key(longest), ERR_OK);
    longest[JOB_UNIQUE_KEY_MAX] = 'k';
    longest[JOB_UNIQUE_KEY_MAX + 1] = '\0';
    cr_expect_eq(check_key(longest), ERR_INVALID);
    cr_expect_eq(check_key("report 7 / \xc3\xbc \xe6\xbc\xa2 '\"\\{},"), ERR_OK);
    cr_expect_eq(check_key("\xc2\xa0"), ERR_OK);
    cr_expect_eq(check_key(""), ERR_INVALID);
    cr_expect_eq(check_key("a\nb"), ERR_INVALID);
    cr_expect_eq(check_key("a\x7f"), ERR_INVALID);
    cr_expect_eq(check_key("a\xc2\x85"), ERR_INVALID);
    cr_expect_eq(check_key("a\xff"), ERR_INVALID);
    cr_expect_eq(check_key("a\xc2"), ERR_INVALID);
}

Test(job_options, each_is_judged)
{
    const struct job_new good = {.task = "t",
                                 .unique_key = "k",
                                 .unique_ttl_s = JOB_DURATION_MAX_S,
                                 .on_conflict = JOB_CONFLICT_REPLACE,
                                 .scheduled_us = 1000,
                                 .expires_us = 1001,
                                 .retention_s = JOB_DURATION_MAX_S,
                                 .traceparent = TRACE,
                                 .headers = "{\"a\": \"b\"}"};
    struct job_new job = good;

    cr_expect_eq(job_options_check(&job, NULL), ERR_OK);
    job.unique_key = NULL;
    cr_expect_eq(job_options_check(&job, NULL), ERR_INVALID);
    job.unique_ttl_s = 0;
    cr_expect_eq(job_options_check(&job, NULL), ERR_INVALID, "on_conflict is left");
    job = good;
    job.unique_ttl_s = JOB_DURATION_MAX_S + INT64_C(1);
    cr_expect_eq(job_options_check(&job, NULL), ERR_INVALID);
    job = good;
    job.expires_us = 1000;
    cr_expect_eq(job_options_check(&job, NULL), ERR_INVALID);
    job = good;
    job.retention_s = -1;
    cr_expect_eq(job_options_check(&job, NULL), ERR_INVALID);
    job = good;
    job.traceparent = "00";
    cr_expect_eq(job_options_check(&job, NULL), ERR_INVALID);
    job = good;
    job.headers = "[]";
    cr_expect_eq(job_options_check(&job, NULL), ERR_INVALID);
}

Test(job_options, conflicts_have_names)
{
    enum job_conflict conflict;

    cr_assert(job_conflict_parse("keep", &conflict));
    cr_expect_eq(conflict, JOB_CONFLICT_KEEP);
    cr_assert(job_conflict_parse("replace", &conflict));
    cr_expect_eq(conflict, JOB_CONFLICT_REPLACE);
    cr_assert(job_conflict_parse("refuse", &conflict));
    cr_expect_eq(conflict, JOB_CONFLICT_REFUSE);
    cr_expect_not(job_conflict_parse("Keep", &conflict));
    cr_expect_not(job_conflict_parse("", &conflict));
}
