/* SPDX-License-Identifier: MIT
 *
 * Answers kept in Redis. A key holds the version of what it was made of, so nothing is ever deleted
 * or wrong: what is of an older version is not asked for any more and goes by itself.
 */
#ifndef COMMON_QUEUE_CACHE_H
#define COMMON_QUEUE_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/redis.h"

enum {
    CACHE_KEEP_S = 600,            /* after the last hit */
    CACHE_VALUE_MAX = 1024 * 1024, /* larger ones are not kept */
    CACHE_FILL_MS = 2000,          /* so long one request at most fills a key alone */
    CACHE_KEY_SIZE = 96,
};

/* The key for a name (of any length) of a version. */
void cache_key(char ret_key[CACHE_KEY_SIZE], long long version, const char *name);

/* *ret_found false: it is not there. */
enum err_code cache_get(struct redis *redis, const char *key, struct buf *value, bool *ret_found,
                        struct err *e) MUST_CHECK;
enum err_code cache_put(struct redis *redis, const char *key, const char *value, size_t len,
                        struct err *e) MUST_CHECK;

/* Whether this caller is to fill the key, as nobody else does at the moment. */
enum err_code cache_begin_fill(struct redis *redis, const char *key, bool *ret_mine,
                               struct err *e) MUST_CHECK;
enum err_code cache_end_fill(struct redis *redis, const char *key, struct err *e) MUST_CHECK;

#endif
