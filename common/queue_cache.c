/* SPDX-License-Identifier: MIT
 *
 * Keys and commands of kept answers; see queue_cache.h.
 *
 *   till:cache:VERSION:HASH       the answer
 *   till:cache:VERSION:HASH:fill  there while somebody makes it
 */
#include "common/queue_cache.h"

#include <stdio.h>
#include <string.h>

#include <sodium.h>

enum { HASH_BYTES = 20, FILL_KEY_SIZE = CACHE_KEY_SIZE + 8 };

void cache_key(char ret_key[CACHE_KEY_SIZE], long long version, const char *name)
{
    unsigned char hash[HASH_BYTES];
    char hex[2 * HASH_BYTES + 1];

    (void)crypto_generichash(hash, sizeof hash, (const unsigned char *)name, strlen(name), NULL, 0);
    (void)sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    (void)snprintf(ret_key, CACHE_KEY_SIZE, "till:cache:%lld:%s", version, hex);
}

static void add_words(struct redis_args *args, const char *const *words)
{
    for (; *words; words++)
        redis_add(args, *words);
}

enum err_code cache_get(struct redis *redis, const char *key, struct buf *value, bool *ret_found,
                        struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    char seconds[16];
    enum err_code rc;

    (void)snprintf(seconds, sizeof seconds, "%d", CACHE_KEEP_S);
    add_words(&args, (const char *const[]){"GETEX", key, "EX", seconds, NULL});
    rc = redis_call(redis, &args, &reply, e);
    if (rc)
        return rc;
    *ret_found = redis_is_text(reply);
    if (*ret_found)
        buf_add(value, reply->str, reply->len);
    return ERR_OK;
}

enum err_code cache_put(struct redis *redis, const char *key, const char *value, size_t len,
                        struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    char seconds[16];

    if (len > CACHE_VALUE_MAX)
        return ERR_OK;
    (void)snprintf(seconds, sizeof seconds, "%d", CACHE_KEEP_S);
    add_words(&args, (const char *const[]){"SET", key, NULL});
    redis_add_bytes(&args, value, len);
    add_words(&args, (const char *const[]){"EX", seconds, NULL});
    return redis_call(redis, &args, NULL, e);
}

enum err_code cache_begin_fill(struct redis *redis, const char *key, bool *ret_mine, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    char fill[FILL_KEY_SIZE];
    char ms[16];
    enum err_code rc;

    (void)snprintf(fill, sizeof fill, "%s:fill", key);
    (void)snprintf(ms, sizeof ms, "%d", CACHE_FILL_MS);
    add_words(&args, (const char *const[]){"SET", fill, "1", "NX", "PX", ms, NULL});
    rc = redis_call(redis, &args, &reply, e);
    if (!rc)
        *ret_mine = redis_is_text(reply);
    return rc;
}

enum err_code cache_end_fill(struct redis *redis, const char *key, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    char fill[FILL_KEY_SIZE];

    (void)snprintf(fill, sizeof fill, "%s:fill", key);
    add_words(&args, (const char *const[]){"DEL", fill, NULL});
    return redis_call(redis, &args, NULL, e);
}
