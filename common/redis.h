/* SPDX-License-Identifier: MIT
 *
 * Redis, one connection a thread. Commands are arrays of byte strings, never formats. Connects when
 * first used; after any error the connection is thrown away (hiredis leaves it out of step) and the
 * next use makes a new one, with a growing pause between failures during which calls fail at once.
 *
 *   AUTO_VALUE(redis_args_release) struct redis_args args = {0};
 *   redis_add(&args, "XACK");
 *   redis_add(&args, key); ...
 *   AUTO(freeReplyObject) redisReply *reply = NULL;
 *   rc = redis_call(redis, &args, &reply, e);
 *
 * An error answer of the server is an error here, too: its first word is in redis_error_word().
 */
#ifndef COMMON_REDIS_H
#define COMMON_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

#include "common/auto.h"
#include "common/err.h"

struct redis;

struct redis_args {
    const char **words; /* borrowed */
    size_t *lengths;
    size_t count;
    size_t size;
};

void redis_add(struct redis_args *args, const char *word);
void redis_add_bytes(struct redis_args *args, const void *data, size_t len);
/* `out` holds the text and must live as long as the arguments. */
void redis_add_number(struct redis_args *args, int64_t number, char out[24]);
void redis_args_release(struct redis_args *args);

static inline void freeReplyObject_auto(redisReply **p)
{
    if (*p)
        freeReplyObject(*p);
}

/* `timeout_ms` bounds every answer; a blocking command needs it above its BLOCK. With NULL for the
 * URL it never connects, and every use fails with ERR_UNAVAILABLE at once. */
struct redis *redis_open(const char *url, const char *client_name, int timeout_ms);
void redis_close(struct redis *redis);
AUTO_DEFINE(struct redis *, redis_close);

enum err_code redis_connect(struct redis *redis, struct err *e) MUST_CHECK;
bool redis_is_connected(const struct redis *redis);
void redis_disconnect(struct redis *redis);
/* Counts connections made; a change tells that the server may have lost what it knew. */
uint64_t redis_generation(const struct redis *redis);

/* One command, one answer (owned by the caller). ret_reply may be NULL. */
enum err_code redis_call(struct redis *redis, const struct redis_args *args, redisReply **ret_reply,
                         struct err *e) MUST_CHECK;

/* Pipeline: append any number, then take as many answers. After an error the rest of them is
 * dropped, so that a caller may leave there and the next command still gets its own answer. */
enum err_code redis_append(struct redis *redis, const struct redis_args *args,
                           struct err *e) MUST_CHECK;
enum err_code redis_take(struct redis *redis, redisReply **ret_reply, struct err *e) MUST_CHECK;

/* Takes `count` answers whose contents nobody wants. Goes on after one that is an error, so that
 * the connection stays in step, and returns the first of them. */
enum err_code redis_take_all(struct redis *redis, size_t count, struct err *e) MUST_CHECK;

/* Takes `count` answers, each owned by the caller; NULL for one that is an error. Goes on after it
 * like redis_take_all(), and redis_error_word() is that of the first. After a loss of the
 * connection all that was not taken is NULL. */
enum err_code redis_take_each(struct redis *redis, redisReply **ret_replies, size_t count,
                              struct err *e) MUST_CHECK;

/* Checks of an answer's nodes; NULL is neither. */
static inline bool redis_is_array(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_ARRAY;
}

static inline bool redis_is_text(const redisReply *reply)
{
    return reply && (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS);
}

enum err_code redis_bad_reply(const char *command, struct err *e);

/* "NOGROUP", "OOM", "READONLY", ... of the last error answer, or "". */
const char *redis_error_word(const struct redis *redis);

/* Where the URL leads, without its secrets; a socket's path stands as host, with port 0. False: it
 * has no form that redis_open() understands. */
struct redis_place {
    char host[256];
    int port;
    int64_t db;
};
bool redis_place_of(const char *url, struct redis_place *ret_place);

/* Whether the URL has a form that redis_open() understands. */
enum err_code redis_check_url(const char *url, struct err *e) MUST_CHECK;

#endif
