/* SPDX-License-Identifier: MIT
 *
 * How often a client may ask, who counts as one, and which origins are listed.
 */
#include "api/limits.h"

#include <stdio.h>

#include <criterion/criterion.h>

#include "api/cors.h"
#include "common/clock.h"
#include "common/queue_throttle.h"

#define MINUTE (60 * US_PER_S)

Test(limits, a_bucket_empties_and_fills)
{
    int64_t now = 1000 * US_PER_S;

    for (int i = 0; i < 6; i++)
        cr_expect_eq(limits_take('a', "x", 6, 1, now), 0, "%d", i);
    cr_expect_eq(limits_take('a', "x", 6, 1, now), 10);
    cr_expect_eq(limits_take('a', "x", 6, 1, now + 9 * US_PER_S), 1);
    cr_expect_eq(limits_take('a', "y", 6, 1, now), 0);
    cr_expect_eq(limits_take('u', "x", 6, 1, now), 0);
    cr_expect_eq(limits_take('a', "x", 6, 1, now + 10 * US_PER_S), 0);
    cr_expect_eq(limits_take('a', "x", 6, 1, now + 10 * US_PER_S), 10);
    cr_expect_eq(limits_take('a', "x", 6, 6, now + 10 * US_PER_S + MINUTE), 0);
}

Test(limits, no_limit_and_nobody)
{
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(limits_take('a', "x", 0, 1, 0), 0);
        cr_assert_eq(limits_take('a', "", 1, 1, 0), 0);
    }
}

Test(limits, many_names_cannot_free_one_that_waits)
{
    char name[LIMITS_NAME_SIZE];
    int64_t now = 1000 * US_PER_S;

    cr_assert_eq(limits_take('a', "busy", 60, 60, now), 0);
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(name, sizeof name, "10.0.%d.%d", i / 256, i % 256);
        cr_assert_eq(limits_take('a', name, 60, 1, now), 0);
    }
    cr_expect_gt(limits_take('a', "busy", 60, 1, now), 0);
}

static void check_name(const char *remote, const char *forwarded, const char *expected)
{
    char name[LIMITS_NAME_SIZE];

    limits_name(remote, forwarded, name);
    cr_expect_str_eq(name, expected, "%s %s: %s", remote, forwarded ? forwarded : "-", name);
}

Test(limits, who_a_client_is)
{
    check_name("10.1.2.3", NULL, "10.1.2.3");
    check_name("10.1.2.3", "1.1.1.1", "10.1.2.3"); /* no proxy of ours: anybody can write that */
    check_name("127.0.0.1", NULL, "");
    check_name("127.0.0.1", "1.1.1.1", "1.1.1.1");
    check_name("127.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1");
    check_name("::1", " 2001:db8:1:2:3:4:5:6 ", "2001:0db8:0001:0002::/64");
    check_name("2001:db8:1:2:ffff::", NULL, "2001:0db8:0001:0002::/64");
    check_name("127.0.0.1", "0123456789012345678901234567890123456789012345678901234567890", "");
    check_name("127.0.0.1", "", "");
    check_name("127.0.0.1", "[", "");
}

/* nginx that listens on "[::]:443 ipv6only=off" names its clients of IPv4 so. */
Test(limits, a_client_of_ipv4_over_a_socket_of_both_is_not_all_of_ipv4)
{
    check_name("::ffff:10.1.2.3", NULL, "10.1.2.3");
    check_name("::ffff:10.1.2.4", NULL, "10.1.2.4");
    check_name("127.0.0.1", "::ffff:1.1.1.1", "1.1.1.1");
    check_name("::ffff:127.0.0.1", "::ffff:0a01:0203", "10.1.2.3");
    check_name("::fffe:10.1.2.3", NULL, "0000:0000:0000:0000::/64");
}

/* Each of its connections has another. */
Test(limits, the_port_of_a_client_is_not_who_it_is)
{
    check_name("127.0.0.1", "6.6.6.6:80, 1.1.1.1:4000", "1.1.1.1");
    check_name("127.0.0.1", "[2001:db8:1:2::5]:4000", "2001:0db8:0001:0002::/64");
    check_name("127.0.0.1", "[2001:db8:1:2::5]", "2001:0db8:0001:0002::/64");
    check_name("127.0.0.1", "[::ffff:1.1.1.1]:4000", "1.1.1.1");
    check_name("127.0.0.1", "[2001:0db8:0001:0002:0003:0004:0005:0006]:65535",
               "2001:0db8:0001:0002::/64");
}

Test(limits, waits_for_guesses_double)
{
    static const int64_t waits[] = {0, 0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300};

    for (int i = 0; i < (int)(sizeof waits / sizeof waits[0]); i++)
        cr_expect_eq(throttle_wait_s(i), waits[i], "%d", i);
    cr_expect_eq(throttle_wait_s(INT64_MAX), 300);
}

Test(cors, only_what_is_listed)
{
    const char *list = "https://a.example, http://b.example:8080";

    cr_expect(cors_is_listed(list, "https://a.example"));
    cr_expect(cors_is_listed(list, "http://b.example:8080"));
    cr_expect_not(cors_is_listed(list, "https://a.example.evil.example"));
    cr_expect_not(cors_is_listed(list, "https://aXexample"));
    cr_expect_not(cors_is_listed(list, "http://a.example"));
    cr_expect_not(cors_is_listed(list, "https://A.example"));
    cr_expect_not(cors_is_listed(list, "null"));
    cr_expect_not(cors_is_listed(list, ""));
    cr_expect_not(cors_is_listed("", ""));
    cr_expect_eq(cors_check(list, NULL), ERR_OK);
    cr_expect_eq(cors_check("", NULL), ERR_OK);
    cr_expect_eq(cors_check("*", NULL), ERR_INVALID);
    cr_expect_eq(cors_check("null", NULL), ERR_INVALID);
    cr_expect_eq(cors_check("https://a.example/", NULL), ERR_INVALID);
    cr_expect_eq(cors_check("https://a.example,,", NULL), ERR_INVALID);
}
