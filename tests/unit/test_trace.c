/* SPDX-License-Identifier: MIT
 *
 * traceparent, by the rules and examples of W3C Trace Context.
 */
#include "common/trace.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/uuid.h"

#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

static void expect_format(const struct trace *trace, const char *wanted)
{
    char text[TRACE_TEXT_SIZE];

    trace_format(trace, text);
    cr_expect_str_eq(text, wanted);
}

Test(trace, reads_what_it_writes)
{
    struct trace trace;

    cr_assert(trace_parse("00-" ID "-" SPAN "-01", &trace));
    cr_expect_str_eq(trace.id, ID);
    cr_expect_str_eq(trace.span, SPAN);
    cr_expect_eq(trace.flags, 1);
    expect_format(&trace, "00-" ID "-" SPAN "-01");
    cr_assert(trace_parse("00-" ID "-" SPAN "-ff", &trace));
    cr_expect_eq(trace.flags, 0xff);
    expect_format(&trace, "00-" ID "-" SPAN "-ff");
}

Test(trace, takes_from_versions_to_come_what_it_knows)
{
    struct trace trace;

    cr_assert(trace_parse("cc-" ID "-" SPAN "-01", &trace));
    expect_format(&trace, "00-" ID "-" SPAN "-01");
    cr_assert(trace_parse("cc-" ID "-" SPAN "-01-what-the-future-will-be-like", &trace));
    expect_format(&trace, "00-" ID "-" SPAN "-01");
}

Test(trace, refuses_everything_else_and_writes_nothing)
{
    static const char *const bad[] = {
        "",
        "00",
        "00-",
        ID,
        "00-" ID "-" SPAN,
        "00-" ID "-" SPAN "-",
        "00-" ID "-" SPAN "-1",
        "00-" ID "-" SPAN "-01 ",
        " 00-" ID "-" SPAN "-01",
        "00-" ID "-" SPAN "-01-",
        "00-" ID "-" SPAN "-01-more",
        "00-" ID "-" SPAN "-011",
        "00-" ID "-" SPAN "-0x",
        "ff-" ID "-" SPAN "-01",
        "0-" ID "-" SPAN "-001",
        "zz-" ID "-" SPAN "-01",
        "cc-" ID "-" SPAN "-01.what",
        "cc-" ID "-" SPAN "-01what",
        "00_" ID "_" SPAN "_01",
        "00-" ID SPAN "--01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
        "00-" ID "-00F067AA0BA902B7-01",
        "00-" ID "-" SPAN "-0A",
        "00-4bf92f3577b34da6a3ce929d0e0e473-" SPAN "-01",
        "00-" ID "0-" SPAN "-01",
        "00-" ID "-00f067aa0ba902b-01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" ID "-0000000000000000-01",
        "00-4bf92f3577b34da6-a3ce929d0e0e473-" SPAN "-01",
    };

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct trace trace = {.id = "left"};

        cr_expect_not(trace_parse(bad[i], &trace), "%s", bad[i]);
        cr_expect_str_eq(trace.id, "left");
    }
}

Test(trace, a_child_is_another_span_of_the_same_trace)
{
    struct trace trace;
    struct trace child;
    struct trace read;
    char text[TRACE_TEXT_SIZE];

    cr_assert(trace_parse("00-" ID "-" SPAN "-01", &trace));
    child = trace_child(&trace);
    trace_format(&child, text);
    cr_assert(trace_parse(text, &read), "%s", text);
    cr_expect_str_eq(read.id, ID);
    cr_expect_str_neq(read.span, SPAN);
    cr_expect_eq(read.flags, 1);
}

Test(trace, begins_under_a_uuid_or_at_random)
{
    const char *const given[] = {"01a2006d-fe96-7ba5-b6fa-c4fdcb2ab269", NULL, "", "no uuid",
                                 "4BF92F35-77B3-4DA6-A3CE-929D0E0E4736"};
    char ids[COUNT_OF(given)][TRACE_ID_SIZE];

    for (size_t i = 0; i < COUNT_OF(given); i++) {
        struct trace trace = trace_begin(given[i]);
        struct trace read;
        char text[TRACE_TEXT_SIZE];

        trace_format(&trace, text);
        cr_assert(trace_parse(text, &read), "%s", text);
        cr_expect_eq(read.flags, 1);
        memcpy(ids[i], read.id, sizeof ids[i]);
    }
    cr_expect_str_eq(ids[0], "01a2006dfe967ba5b6fac4fdcb2ab269");
    cr_expect_str_eq(ids[4], ID);
    cr_expect_str_neq(ids[1], ids[2]);
    cr_expect_str_neq(ids[2], ids[3]);
}

Test(trace, a_uuid_of_zeros_is_no_trace)
{
    struct trace trace = trace_begin("00000000-0000-0000-0000-000000000000");
    struct trace read;
    char text[TRACE_TEXT_SIZE];

    trace_format(&trace, text);
    cr_expect(trace_parse(text, &read), "%s", text);
}
