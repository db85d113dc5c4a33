/* SPDX-License-Identifier: MIT
 *
 * What a flow may be, and that each refusal names the place.
 */
#include "common/flow_spec.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/buf.h"
#include "common/mem.h"

static json_t *read_value(const char *text)
{
    json_t *value = NULL;
    struct err e = {0};

    cr_assert_eq(json_read(text, strlen(text), FLOW_BYTES_MAX, &value, &e), ERR_OK, "%s: %s", text,
                 e.text);
    return value;
}

static void expect_jobs(const char *text, size_t jobs)
{
    AUTO(json_decref) json_t *flow = read_value(text);
    struct err e = {0};
    size_t found = 0;

    cr_expect_eq(flow_check(flow, &found, &e), ERR_OK, "%s: %s", text, e.text);
    cr_expect_eq(found, jobs, "%s: %zu jobs", text, found);
}

static void expect_refused(const char *text, const char *why)
{
    AUTO(json_decref) json_t *flow = read_value(text);
    struct err e = {0};
    size_t found = 77;

    cr_expect_eq(flow_check(flow, &found, &e), ERR_INVALID, "accepted: %s", text);
    cr_expect(strstr(e.text, why) != NULL, "%s: \"%s\", not \"%s\"", text, e.text, why);
    cr_expect_eq(found, 77, "the output is written only on success");
}

Test(flow_spec, what_is_right)
{
    expect_jobs("{\"task\": \"a\"}", 1);
    expect_jobs("{\"name\": \"n\\u00e4chtlich\", \"chain\": [{\"task\": \"a\"}]}", 1);
    expect_jobs("{\"chain\": [{\"task\": \"a\"}, {\"task\": \"b\", \"args\": [1]}]}", 2);
    expect_jobs("{\"group\": [{\"task\": \"a\"}, {\"chain\": [{\"task\": \"b\"}, {\"task\":"
                " \"c\"}]}], \"callback\": {\"group\": [{\"task\": \"d\"}]},"
                " \"on_complete\": {\"task\": \"e\"}}",
                5);
    expect_jobs("{\"task\": \"a\", \"queue\": \"q\", \"priority\": \"low\", \"kwargs\": {},"
                " \"max_attempts\": 1, \"id\": \"01a1ffc4-8bb2-77ba-9345-b55d60d08b26\","
                " \"scheduled_at\": \"2026-12-24T18:00:00Z\","
                " \"expires_at\": \"2026-12-24T20:00:00+01:00\", \"retention_s\": 60,"
                " \"headers\": {\"a\": \"b\"}, \"unique_key\": \"k\", \"traceparent\":"
                " \"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"}",
                1);
}

Test(flow_spec, what_is_wrong_is_named_with_its_place)
{
    expect_refused("7", "flow must be an object");
    expect_refused("{\"task\": \"a\", \"chain\": []}", "flow must be an object with one of");
    expect_refused("{\"chain\": [{\"group\": [{\"task\": \"a\"}, null]}]}",
                   "flow.chain[0].group[1] must be an object");
    expect_refused("{\"chain\": []}", "flow \"chain\" is empty");
    expect_refused("{\"group\": {}}", "flow \"group\" must be an array");
    expect_refused("{\"chain\": [{\"task\": \"a\"}], \"callback\": {\"task\": \"b\"}}",
                   "flow has \"callback\", which a chain cannot have");
    expect_refused("{\"group\": [{\"task\": \"a\"}], \"on_complete\": {}}",
                   "flow.on_complete must be an object");
    expect_refused("{\"task\": \"a\", \"countdown\": 1}", "flow has \"countdown\", which a job");
    expect_refused("{\"chain\": [{\"task\": \"a\", \"name\": \"n\"}]}",
                   "flow.chain[0] has \"name\"");
    expect_refused("{\"task\": \"no name\"}", "flow: \"no name\" is no name of a task");
    expect_refused("{\"task\": 7}", "flow has a \"task\" that cannot be read: it is a text");
    expect_refused("{\"task\": \"a\", \"scheduled_at\": \"2030-01-01T12:00:00\"}",
                   "\"scheduled_at\" that cannot be read: it is a time with its zone");
    expect_refused("{\"task\": \"a\", \"priority\": 3}",
                   "\"priority\" that cannot be read: it is 0, 1, 2, high");
    expect_refused("{\"task\": \"a\", \"args\": {}}", "flow: args of a job");
    expect_refused("{\"task\": \"a\", \"kwargs\": []}", "flow: kwargs of a job");
    expect_refused("{\"task\": \"a\", \"headers\": {\"h\": 1}}", "flow: header \"h\"");
    expect_refused("{\"task\": \"a\", \"priority\": \"urgent\"}", "\"priority\"");
    expect_refused("{\"task\": \"a\", \"priority\": 3}", "\"priority\"");
    expect_refused("{\"task\": \"a\", \"max_attempts\": 0}", "\"max_attempts\"");
    expect_refused("{\"task\": \"a\", \"max_attempts\": 1.5}", "\"max_attempts\"");
    expect_refused("{\"task\": \"a\", \"id\": \"x\"}", "\"id\"");
    expect_refused("{\"task\": \"a\", \"scheduled_at\": \"soon\"}", "\"scheduled_at\"");
    expect_refused("{\"task\": \"a\", \"traceparent\": \"x\"}", "flow: \"x\" is no traceparent");
    expect_refused("{\"name\": \"\", \"task\": \"a\"}", "the name of a flow is 1 to 200 bytes");
    expect_refused("{\"name\": \"a\\nb\", \"task\": \"a\"}", "the name of a flow");
    expect_refused("{\"name\": 7, \"task\": \"a\"}", "the name of a flow");
}

static char *repeat(const char *before, const char *item, size_t count, const char *after)
{
    struct buf text;

    buf_init(&text, FLOW_BYTES_MAX);
    buf_add_str(&text, before);
    for (size_t i = 0; i < count; i++)
        buf_addf(&text, "%s%s", i ? "," : "", item);
    buf_add_str(&text, after);
    return text.data;
}

Test(flow_spec, bounds)
{
    static const char job[] = "{\"task\": \"a\"}";
    AUTO(mem_free)
    char *full =
        repeat("{\"group\": [", job, FLOW_MEMBERS_MAX, "], \"callback\": {\"task\": \"c\"}}");
    AUTO(mem_free) char *over = repeat("{\"chain\": [", job, FLOW_MEMBERS_MAX + 1, "]}");
    AUTO(mem_free) char *part = repeat("{\"group\": [", job, FLOW_MEMBERS_MAX, "]}");
    AUTO(mem_free) char *twice = repeat("{\"chain\": [", part, 2, "]}");
    AUTO(mem_free) char *thrice = repeat("{\"chain\": [", part, 3, "]}");

    expect_jobs(full, FLOW_MEMBERS_MAX + 1);
    expect_refused(over, "flow \"chain\" has more than 10000 members");
    expect_jobs(twice, FLOW_JOBS_MAX);
    expect_refused(thrice, "a flow has at most 20000 jobs");
}

Test(flow_spec, depth)
{
    char text[512];
    size_t len = 0;

    for (int levels = FLOW_DEPTH_MAX; levels <= FLOW_DEPTH_MAX + 1; levels++) {
        len = 0;
        for (int i = 0; i < levels; i++)
            len += (size_t)snprintf(text + len, sizeof text - len, "{\"chain\": [");
        len += (size_t)snprintf(text + len, sizeof text - len, "{\"task\": \"a\"}");
        for (int i = 0; i < levels; i++)
            len += (size_t)snprintf(text + len, sizeof text - len, "]}");
        if (levels == FLOW_DEPTH_MAX)
            expect_jobs(text, 1);
        else
            expect_refused(text, "is nested deeper than 8 levels");
    }
}

Test(flow_spec, a_trace_goes_to_all_that_have_none)
{
    AUTO(json_decref)
    json_t *flow = read_value(
        "{\"name\": \"n\", \"chain\": [{\"task\": \"a\"}, {\"group\": [{\"task\": \"b\", "
        "\"traceparent\": "
        "\"00-11111111111111111111111111111111-1111111111111111-01\"}, {\"chain\": [{\"task\": "
        "\"c\"}]}],"
        " \"callback\": {\"task\": \"d\"}, \"on_complete\": {\"group\": [{\"task\": \"e\"}]}}]}");
    AUTO(json_decref) json_t *before = json_deep_copy(flow);
    AUTO(json_decref) json_t *traced = NULL;
    AUTO(json_decref) json_t *plain = NULL;
    AUTO(mem_free) char *text = NULL;
    size_t found = 0;

    cr_assert_eq(flow_with_trace(flow, "00-22222222222222222222222222222222-2222222222222222-01",
                                 NULL, &traced, NULL),
                 ERR_OK);
    text = json_write(traced);
    for (const char *at = text; (at = strstr(at, "00-2222")); at++)
        found++;
    cr_assert_eq(found, 4, "%s", text);
    cr_assert_not_null(strstr(text, "00-1111"), "%s", text);
    cr_assert(json_equal(flow, before), "it works on a copy");
    cr_assert_eq(flow_with_trace(flow, NULL, NULL, &plain, NULL), ERR_OK);
    cr_assert(json_equal(flow, plain));
}

Test(flow_spec, headers_go_to_all_besides_their_own)
{
    AUTO(json_decref)
    json_t *flow = read_value("{\"chain\": [{\"task\": \"a\"}, {\"group\": [{\"task\": \"b\","
                              " \"headers\": {\"x-tenant\": \"own\", \"kind\": \"k\"}}],"
                              " \"callback\": {\"task\": \"c\"}}]}");
    AUTO(json_decref) json_t *headers = read_value("{\"X-Tenant\": \"seven\"}");
    AUTO(json_decref) json_t *full = NULL;
    AUTO(json_decref)
    json_t *expected = read_value(
        "{\"chain\": [{\"task\": \"a\", \"headers\": {\"X-Tenant\": \"seven\"}}, {\"group\": [{"
        "\"task\": \"b\", \"headers\": {\"x-tenant\": \"own\", \"kind\": \"k\"}}],"
        " \"callback\": {\"task\": \"c\", \"headers\": {\"X-Tenant\": \"seven\"}}}]}");

    cr_assert_eq(flow_with_trace(flow, NULL, headers, &full, NULL), ERR_OK);
    cr_assert(json_equal(full, expected));
}
