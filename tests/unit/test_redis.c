/* SPDX-License-Identifier: MIT
 *
 * What is an address of Redis. The driver itself is tested in tests/integration/test_redis.c.
 */
#include "common/redis.h"

#include <string.h>

#include <criterion/criterion.h>

Test(redis_check_url, accepts)
{
    static const char *const good[] = {
        "redis://127.0.0.1:6379/0",
        "redis://localhost",
        "redis://localhost/",
        "redis://localhost:6379",
        "redis://localhost/15",
        "redis://",
        "redis://:password@host:6379/0",
        "redis://user:password@host",
        "redis://user:p%40ss%3A%2F@host:1/2",
        "redis://user:a@b@host", /* the last '@' ends the password */
        "unix:///run/redis/redis.sock",
        "unix:///run/redis/redis.sock?db=3",
        "unix://relative.sock",
        "unix://api:secret@/run/redis.sock?db=3",
        "unix://:p%40ss@/run/redis.sock",
        "unix:///run/a@/redis.sock",
    };

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct err e = {0};

        cr_expect_eq(redis_check_url(good[i], &e), ERR_OK, "%s: %s", good[i], e.text);
    }
}

Test(redis_check_url, refuses)
{
    static const char *const bad[] = {
        NULL,
        "",
        "localhost:6379",
        "http://localhost",
        "rediss://localhost", /* hiredis as packaged speaks no TLS */
        "redis:/localhost",
        "REDIS://localhost",
        "redis://host:0",
        "redis://host:65536",
        "redis://host:port",
        "redis://host:-1",
        "redis://host:6379/x",
        "redis://host/-1",
        "redis://host/1024",
        "redis://host/0?timeout=1",
        "unix://",
        "unix://?db=1",
        "unix:///s?db=",
        "unix:///s?db=x",
    };

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err e = {0};

        cr_expect_eq(redis_check_url(bad[i], &e), ERR_INVALID, "%s", bad[i]);
        cr_expect_not_null(strstr(e.text, "REDIS_URL"));
    }
}

Test(redis_check_url, errors_never_show_the_password)
{
    struct err e = {0};

    cr_assert_eq(redis_check_url("redis://user:hunter2@host:port", &e), ERR_INVALID);
    cr_assert_null(strstr(e.text, "hunter2"), "%s", e.text);
    cr_assert_null(strstr(e.detail, "hunter2"), "%s", e.detail);
}
