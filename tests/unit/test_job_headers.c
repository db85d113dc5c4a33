/* SPDX-License-Identifier: MIT
 *
 * Which headers of a job stand on its log lines, and which go out with what it sends.
 */
#include "common/job_headers.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/job_options.h"
#include "common/json.h"
#include "common/mem.h"

static void expect_line(const char *headers, const char *expected)
{
    AUTO(json_decref) json_t *shown = job_headers_shown(NULL, headers);
    AUTO(mem_free) char *line = job_headers_line(shown);

    cr_expect_str_eq(line ? line : "none", expected);
}

static void expect_out(const char *headers, const char *expected)
{
    AUTO(json_decref) json_t *shown = job_headers_shown(NULL, headers);
    AUTO(json_decref) json_t *out = job_headers_outgoing(shown);
    AUTO(mem_free) char *text = out ? json_write(out) : NULL;

    cr_expect_str_eq(text ? text : "none", expected);
}

Test(job_headers, a_log_line_has_all_but_secrets)
{
    expect_line(NULL, "none");
    expect_line("{}", "none");
    expect_line("nonsense", "none");
    expect_line("{\"tenant\":\"a\",\"X-Auth-Token\":\"abc\",\"note\":\"card 4242 4242 4242 4242\"}",
                "{\"X-Auth-Token\":\"[redacted]\",\"note\":\"card [redacted]\",\"tenant\":\"a\"}");
}

Test(job_headers, a_log_line_has_whole_ones_and_no_more_than_fit)
{
    char headers[JOB_HEADERS_LOGGED + 100];
    char value[JOB_HEADERS_LOGGED + 1];

    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    (void)snprintf(headers, sizeof headers, "{\"long\":\"%s\",\"short\":\"s\"}", value);
    expect_line(headers, "{\"short\":\"s\"}");
}

Test(job_headers, those_named_x_go_out)
{
    expect_out("{\"tenant\":\"a\"}", "none");
    expect_out("{\"tenant\":\"a\",\"X-Tenant\":\"a b\",\"x-kind.of\":\"k\"}",
               "{\"X-Tenant\":\"a b\",\"x-kind.of\":\"k\"}");
    expect_out("{\"X-Tenant\":\"first\",\"x-tenant\":\"second\"}", "{\"X-Tenant\":\"first\"}");
}

Test(job_headers, what_could_harm_stays_here)
{
    static const char *const values[] = {"",      " a",      "a ",       "a\\r\\nBcc: a@b",
                                         "a\\tb", "\\u00fc", "a\\u007f", "sk_live_abcdefghijkl"};
    static const char *const names[] = {"X-",
                                        "Subject",
                                        "X-Forwarded-For",
                                        "x-http-method-override",
                                        "X-Till-Trace-Id",
                                        "X-Stripe-Account",
                                        "X-Spam-Flag",
                                        "X-Api-Key"};
    char headers[200];

    for (size_t i = 0; i < COUNT_OF(values); i++) {
        (void)snprintf(headers, sizeof headers, "{\"X-A\":\"%s\"}", values[i]);
        expect_out(headers, "none");
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        (void)snprintf(headers, sizeof headers, "{\"%s\":\"a\"}", names[i]);
        expect_out(headers, "none");
    }
}

Test(job_headers, no_more_and_no_longer_ones_than_servers_take)
{
    AUTO(json_decref) json_t *many = json_object();
    AUTO(json_decref) json_t *out = NULL;
    char name[JOB_HEADER_OUT_NAME + 2] = "X-";
    char value[JOB_HEADER_OUT_VALUE + 2];

    for (int i = 0; i < JOB_HEADERS_MAX; i++) {
        (void)snprintf(value, sizeof value, "X-%d", i);
        (void)json_object_set_new(many, value, json_string("v"));
    }
    out = job_headers_outgoing(many);
    cr_expect_eq(json_object_size(out), JOB_HEADERS_OUT_MAX);
    memset(name + 2, 'n', sizeof name - 3);
    name[sizeof name - 1] = '\0';
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    cr_expect_not(job_header_goes_out(name, "v"));
    cr_expect_not(job_header_goes_out("X-A", value));
    name[sizeof name - 2] = '\0';
    value[sizeof value - 2] = '\0';
    cr_expect(job_header_goes_out(name, value));
}

Test(job_headers, a_job_keeps_its_own_and_what_it_may_have)
{
    AUTO(json_decref) json_t *own = json_pack("{s:s, s:s}", "x-tenant", "own", "kind", "k");
    AUTO(json_decref) json_t *other = json_pack("{s:s, s:s}", "X-Tenant", "other", "X-More", "m");
    AUTO(json_decref) json_t *joined = job_headers_joined(own, other);
    AUTO(json_decref) json_t *full = json_object();
    AUTO(json_decref) json_t *still = NULL;
    char name[16];

    cr_expect_eq(json_object_size(joined), 3);
    cr_expect_str_eq(json_member_text(joined, "x-tenant"), "own");
    cr_expect_str_eq(json_member_text(joined, "X-More"), "m");
    cr_expect_eq(json_object_size(own), 2, "it is a copy");
    cr_expect_null(job_headers_joined(NULL, NULL));
    for (int i = 0; i < JOB_HEADERS_MAX; i++) {
        (void)snprintf(name, sizeof name, "h%d", i);
        (void)json_object_set_new(full, name, json_string("v"));
    }
    still = job_headers_joined(full, other);
    cr_expect_eq(json_object_size(still), JOB_HEADERS_MAX);
}
