/* SPDX-License-Identifier: MIT
 *
 * Commands of the store tests, as words: do_it(redis, WORDS("SET", "a", "b")).
 */
#ifndef TESTS_INTEGRATION_REDIS_WORDS_H
#define TESTS_INTEGRATION_REDIS_WORDS_H

#include <criterion/criterion.h>

#include "common/redis.h"

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline struct redis_args args_of(const char *const *words)
{
    struct redis_args args = {0};

    for (; *words; words++)
        redis_add(&args, *words);
    return args;
}

static inline void do_it(struct redis *redis, const char *const *words)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = args_of(words);
    struct err e = {0};

    cr_assert_eq(redis_call(redis, &args, NULL, &e), ERR_OK, "%s: %s", words[0], e.detail);
}

#endif
