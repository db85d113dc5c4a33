/* SPDX-License-Identifier: MIT
 *
 * Which requests are refused before anybody reads further.
 */
#include "api/framing.h"

#include <criterion/criterion.h>

#include "common/auto.h"

static int check(const char *uri, const char *version, const struct header *headers, size_t count,
                 int64_t *ret_length)
{
    const char *text = NULL;
    int status = framing_check("POST", uri, version, headers, count, ret_length, &text);

    cr_assert_eq(status != 0, text != NULL);
    return status;
}

/* Status for a good request with one more header, and the length of its body. */
static int with(const char *name, const char *value, int64_t *ret_length)
{
    const struct header headers[] = {{"Host", "shop.example:8000"}, {name, value}};

    return check("/", "1.1", headers, 2, ret_length);
}

Test(framing, takes_the_length)
{
    int64_t length = -1;

    cr_assert_eq(with("Content-Length", "17", &length), 0);
    cr_assert_eq(length, 17);
    cr_assert_eq(with("content-length", "1048576", &length), 0);
    cr_assert_eq(length, HTTP_BODY_MAX);
    cr_assert_eq(with("Accept", "*/*", &length), 0);
    cr_assert_eq(length, 0);
}

Test(framing, refuses_lengths_that_are_none)
{
    static const char *const values[] = {"",    "+1",  "-1",  " 1",  "1 ",  "1a",
                                         "0x1", "1,1", "1.0", "\t1", "1\t", "one"};
    int64_t length;

    for (size_t i = 0; i < COUNT_OF(values); i++)
        cr_assert_eq(with("Content-Length", values[i], &length), 400, "%s", values[i]);
    cr_assert_eq(with("Content-Length", "1048577", &length), 413);
    cr_assert_eq(with("Content-Length", "99999999999999999999", &length), 413);
}

Test(framing, refuses_two_ways_to_find_the_end)
{
    const struct header both[] = {
        {"Host", "x"}, {"Content-Length", "1"}, {"transfer-encoding", "chunked"}};
    const struct header twice[] = {{"Host", "x"}, {"Content-Length", "1"}, {"CONTENT-LENGTH", "1"}};
    int64_t length;

    cr_assert_eq(check("/", "1.1", both, 3, &length), 400);
    cr_assert_eq(check("/", "1.1", twice, 3, &length), 400);
    cr_assert_eq(with("Transfer-Encoding", "chunked", &length), 411);
}

Test(framing, wants_one_host)
{
    const struct header twice[] = {{"Host", "x"}, {"host", "x"}};
    int64_t length;

    cr_assert_eq(check("/", "1.1", NULL, 0, &length), 400);
    cr_assert_eq(check("/", "1.0", NULL, 0, &length), 0);
    cr_assert_eq(check("/", "1.1", twice, 2, &length), 400);
    cr_assert_eq(check("/", "1.1", &(struct header){"Host", ""}, 1, &length), 400);
    cr_assert_eq(check("/", "1.1", &(struct header){"Host", "a b"}, 1, &length), 400);
    cr_assert_eq(check("/", "1.1", &(struct header){"Host", "a/b"}, 1, &length), 400);
    cr_assert_eq(check("/", "1.1", &(struct header){"Host", "u@a"}, 1, &length), 400);
}

Test(framing, wants_clean_lines)
{
    struct header many[FRAMING_HEADERS_MAX];
    int64_t length;

    cr_assert_eq(with("A b", "x", &length), 400);
    cr_assert_eq(with("", "x", &length), 400);
    cr_assert_eq(with("A", "x\ry", &length), 400);
    cr_assert_eq(with("A", "x\x7fy", &length), 400);
    cr_assert_eq(with("A", "x\ty", &length), 0);
    cr_assert_eq(with("A\xc3\xa4", "x", &length), 400);
    for (size_t i = 0; i < FRAMING_HEADERS_MAX; i++)
        many[i] = (struct header){i ? "A" : "Host", "x"};
    cr_assert_eq(check("/", "1.1", many, FRAMING_HEADERS_MAX - 1, &length), 0);
    cr_assert_eq(check("/", "1.1", many, FRAMING_HEADERS_MAX, &length), 431);
    cr_assert_eq(check("*", "1.1", many, 1, &length), 400);
    cr_assert_eq(check("http://x/", "1.1", many, 1, &length), 400);
    cr_assert_eq(check("/\x01", "1.1", many, 1, &length), 400);
    cr_assert_eq(check("/a\tb", "1.1", many, 1, &length), 400, "a tab parts words for some");
    cr_assert_eq(check("/a b", "1.1", many, 1, &length), 400);
    cr_assert_eq(check("/", "2.0", many, 1, &length), 505);
    cr_assert_eq(check("/", "", many, 1, &length), 505);
}
