/* SPDX-License-Identifier: MIT
 *
 * Headers of a reply: copied, cut at a control character, as many and as long as may be.
 */
#include <string.h>

#include <criterion/criterion.h>

#include "api/http.h"
#include "common/auto.h"

static const char *value_of(const struct reply *reply, size_t at)
{
    cr_assert_lt(at, reply->headers_count);
    cr_assert_eq(reply->headers[at].len, strlen(reply->headers[at].value));
    return reply->headers[at].value;
}

Test(reply, copies_its_headers)
{
    AUTO_VALUE(reply_release) struct reply reply;
    char value[] = "one";

    reply_init(&reply);
    reply_header(&reply, "A", value);
    memcpy(value, "two", sizeof value);
    reply_header(&reply, "B", value);
    reply_header(&reply, "C", "");
    cr_expect_str_eq(value_of(&reply, 0), "one");
    cr_expect_str_eq(value_of(&reply, 1), "two");
    cr_expect_str_eq(value_of(&reply, 2), "");
    cr_expect_str_eq(reply.headers[1].name, "B");
}

Test(reply, cuts_a_header_where_another_could_begin)
{
    AUTO_VALUE(reply_release) struct reply reply;

    reply_init(&reply);
    reply_header(&reply, "A", "/a\r\nSet-Cookie: b");
    reply_header(&reply, "B", "tab\there");
    reply_header(&reply, "C", "del\x7fhere");
    cr_expect_str_eq(value_of(&reply, 0), "/a");
    cr_expect_str_eq(value_of(&reply, 1), "tab");
    cr_expect_str_eq(value_of(&reply, 2), "del");
}

/* Short ones stand in the reply, the others apart: neither may overwrite the other. */
Test(reply, holds_headers_of_all_lengths)
{
    AUTO_VALUE(reply_release) struct reply reply;
    char long_value[4 * HTTP_VALUES_USUAL];

    memset(long_value, 'x', sizeof long_value);
    long_value[sizeof long_value - 1] = '\0';
    reply_init(&reply);
    for (int step = 1; step < 5; step++) {
        size_t lens[HTTP_HEADERS_MAX];

        for (size_t i = 0; i < HTTP_HEADERS_MAX + 1; i++) {
            size_t len = i * (size_t)step * 11 % sizeof long_value;
            const char *value = long_value + sizeof long_value - 1 - len;

            if (i < HTTP_HEADERS_MAX)
                lens[i] = len;
            reply_header(&reply, "A", value); /* one too many is passed over */
        }
        cr_assert_eq(reply.headers_count, HTTP_HEADERS_MAX);
        for (size_t i = 0; i < HTTP_HEADERS_MAX; i++)
            cr_expect_eq(strlen(value_of(&reply, i)), lens[i], "%zu of %d", i, step);
        reply_clear(&reply);
        cr_assert_eq(reply.headers_count, 0);
    }
}
