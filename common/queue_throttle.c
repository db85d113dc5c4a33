/* SPDX-License-Identifier: MIT
 *
 * Counting guesses; see queue_throttle.h. A guess is counted before it is made, so that many at
 * once are no way around. Past the free ones a key that lives as long as the wait lets one through:
 * who makes it may guess.
 *
 *   till:guesses:account:HASH  how many guesses, for THROTTLE_FORGET_S after the last
 *   till:guesses:gate:HASH     there while the account has to wait
 *   till:guesses:address:HASH  failures of this minute
 */
#include "common/queue_throttle.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum { KEY_SIZE = 96, HASH_BYTES = 16 };

static void make_key(char key[KEY_SIZE], const char *kind, const char *name)
{
    unsigned char hash[HASH_BYTES];
    char hex[2 * HASH_BYTES + 1];

    (void)crypto_generichash(hash, sizeof hash, (const unsigned char *)name, strlen(name), NULL, 0);
    (void)sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    (void)snprintf(key, KEY_SIZE, "till:guesses:%s:%s", kind, hex);
}

int64_t throttle_wait_s(int64_t wrong)
{
    int64_t over = wrong - THROTTLE_FREE + 1;

    if (over <= 0)
        return 0;
    return over > 8 || (INT64_C(1) << over) > THROTTLE_WAIT_MAX_S ? THROTTLE_WAIT_MAX_S
                                                                  : INT64_C(1) << over;
}

/* One command of up to five words; `ret_number` gets an integer answer, or a text of one, or 0. */
static enum err_code call(struct redis *redis, const char *const *words, int64_t *ret_number,
                          bool *ret_is_nil, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    enum err_code rc;

    for (; *words; words++)
        redis_add(&args, *words);
    rc = redis_call(redis, &args, &reply, e);
    if (rc)
        return rc;
    if (ret_is_nil)
        *ret_is_nil = reply->type == REDIS_REPLY_NIL;
    if (ret_number)
        *ret_number = reply->type == REDIS_REPLY_INTEGER ? reply->integer
                      : redis_is_text(reply)             ? strtoll(reply->str, NULL, 10)
                                                         : 0;
    return ERR_OK;
}

static enum err_code count(struct redis *redis, const char *key, const char *seconds,
                           const char *when, struct err *e)
{
    const char *incr[] = {"INCR", key, NULL};
    const char *expire[] = {"EXPIRE", key, seconds, when, NULL};
    enum err_code rc = call(redis, incr, NULL, NULL, e);

    return rc ? rc : call(redis, expire, NULL, NULL, e);
}

/* Seconds until the key is gone, at least 1. */
static enum err_code look_left(struct redis *redis, const char *key, int64_t *ret_s, struct err *e)
{
    const char *ttl[] = {"TTL", key, NULL};
    int64_t left = 0;
    enum err_code rc = call(redis, ttl, &left, NULL, e);

    if (!rc)
        *ret_s = left > 0 ? left : 1;
    return rc;
}

/* Past the free guesses: one at a time. */
static enum err_code pass_gate(struct redis *redis, const char *account, int64_t wait_s,
                               int64_t *ret_wait_s, struct err *e)
{
    char gate[KEY_SIZE];
    char seconds[24];
    const char *set[] = {"SET", gate, "1", "NX", "EX", seconds, NULL};
    bool is_closed = false;
    enum err_code rc;

    make_key(gate, "gate", account);
    (void)snprintf(seconds, sizeof seconds, "%" PRId64, wait_s);
    rc = call(redis, set, NULL, &is_closed, e);
    return rc || !is_closed ? rc : look_left(redis, gate, ret_wait_s, e);
}

enum err_code throttle_begin(struct redis *redis, const char *account, const char *address,
                             int64_t *ret_wait_s, struct err *e)
{
    char key[KEY_SIZE];
    const char *get[] = {"GET", key, NULL};
    int64_t wrong = 0;
    enum err_code rc = ERR_OK;

    *ret_wait_s = 0;
    make_key(key, "address", address);
    if (*address)
        rc = call(redis, get, &wrong, NULL, e);
    if (rc || wrong >= THROTTLE_ADDRESS_FREE)
        return rc ? rc : look_left(redis, key, ret_wait_s, e);
    make_key(key, "account", account);
    rc = call(redis, get, &wrong, NULL, e);
    if (rc || throttle_wait_s(wrong) == 0)
        return rc;
    return pass_gate(redis, account, throttle_wait_s(wrong), ret_wait_s, e);
}

enum err_code throttle_succeeded(struct redis *redis, const char *account, struct err *e)
{
    char counter[KEY_SIZE];
    char gate[KEY_SIZE];
    const char *del[] = {"DEL", counter, gate, NULL};

    make_key(counter, "account", account);
    make_key(gate, "gate", account);
    return call(redis, del, NULL, NULL, e);
}

enum err_code throttle_failed(struct redis *redis, const char *account, const char *address,
                              struct err *e)
{
    char seconds[24];
    char key[KEY_SIZE];
    enum err_code rc;

    (void)snprintf(seconds, sizeof seconds, "%d", THROTTLE_FORGET_S);
    make_key(key, "account", account);
    rc = count(redis, key, seconds, NULL, e);
    if (rc || !*address)
        return rc;
    make_key(key, "address", address);
    return count(redis, key, "60", "NX", e);
}
