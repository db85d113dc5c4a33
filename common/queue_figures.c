/* SPDX-License-Identifier: MIT
 *
 * How deep and how old a stream is; see queue.h. Reads only.
 */
#include "common/queue.h"

#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/text.h"

/* The value of a key in a flat [key, value, ...] answer, or NULL. */
static const redisReply *flat_value(const redisReply *flat, const char *key)
{
    for (size_t i = 0; redis_is_array(flat) && i + 1 < flat->elements; i += 2)
        if (redis_is_text(flat->element[i]) && strcmp(flat->element[i]->str, key) == 0)
            return flat->element[i + 1];
    return NULL;
}

static enum err_code read_length(struct redis *redis, const struct queue_stream *stream,
                                 int64_t *ret_length, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    enum err_code rc;

    redis_add(&args, "XLEN");
    redis_add(&args, stream->key);
    rc = redis_call(redis, &args, &reply, e);
    if (rc)
        return rc;
    if (reply->type != REDIS_REPLY_INTEGER)
        return redis_bad_reply("XLEN", e);
    *ret_length = reply->integer;
    return ERR_OK;
}

/* Pending entries and the last delivered id of our group; a group that is not there has "0-0". */
static enum err_code read_group(struct redis *redis, const struct queue_stream *stream,
                                int64_t *ret_pending, char last[QUEUE_ENTRY_SIZE], struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    enum err_code rc;

    *ret_pending = 0;
    (void)snprintf(last, QUEUE_ENTRY_SIZE, "0-0");
    redis_add(&args, "XINFO");
    redis_add(&args, "GROUPS");
    redis_add(&args, stream->key);
    rc = redis_call(redis, &args, &reply, e);
    if (rc)
        return rc;
    if (!redis_is_array(reply))
        return redis_bad_reply("XINFO", e);
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *name = flat_value(reply->element[i], "name");
        const redisReply *pending = flat_value(reply->element[i], "pending");
        const redisReply *delivered = flat_value(reply->element[i], "last-delivered-id");

        if (!redis_is_text(name) || strcmp(name->str, QUEUE_GROUP) != 0)
            continue;
        if (!pending || pending->type != REDIS_REPLY_INTEGER || !redis_is_text(delivered))
            return redis_bad_reply("XINFO", e);
        *ret_pending = pending->integer;
        (void)snprintf(last, QUEUE_ENTRY_SIZE, "%s", delivered->str);
    }
    return ERR_OK;
}

/* The id of the oldest entry after `last`; "" when there is none. */
static enum err_code read_oldest(struct redis *redis, const struct queue_stream *stream,
                                 const char *last, char ret_entry[QUEUE_ENTRY_SIZE], struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    char after[QUEUE_ENTRY_SIZE + 1];
    enum err_code rc;

    (void)snprintf(after, sizeof after, "(%s", last);
    redis_add(&args, "XRANGE");
    redis_add(&args, stream->key);
    redis_add(&args, after);
    redis_add(&args, "+");
    redis_add(&args, "COUNT");
    redis_add(&args, "1");
    rc = redis_call(redis, &args, &reply, e);
    if (rc)
        return rc;
    ret_entry[0] = '\0';
    if (redis_is_array(reply) && reply->elements > 0 && redis_is_array(reply->element[0]) &&
        reply->element[0]->elements > 0 && redis_is_text(reply->element[0]->element[0]))
        (void)snprintf(ret_entry, QUEUE_ENTRY_SIZE, "%s", reply->element[0]->element[0]->str);
    return ERR_OK;
}

enum err_code queue_measure(struct redis *redis, const struct queue_stream *stream,
                            struct queue_depth *ret_depth, struct err *e)
{
    char last[QUEUE_ENTRY_SIZE];
    char oldest[QUEUE_ENTRY_SIZE];
    struct queue_depth depth = {0};
    int64_t length = 0;
    enum err_code rc = read_length(redis, stream, &length, e);

    if (rc)
        return rc;
    if (length > 0) { /* XINFO of a key that is not there is an error */
        rc = read_group(redis, stream, &depth.pending, last, e);
        if (rc)
            return rc;
        rc = read_oldest(redis, stream, last, oldest, e);
        if (rc)
            return rc;
        depth.oldest_us = queue_entry_time_us(oldest);
    }
    depth.waiting = length > depth.pending ? length - depth.pending : 0;
    *ret_depth = depth;
    return ERR_OK;
}

enum err_code queue_last_delivered(struct redis *redis, const struct queue_stream *stream,
                                   int64_t *ret_wall_us, struct err *e)
{
    char last[QUEUE_ENTRY_SIZE] = "";
    struct err problem = {0};
    int64_t pending;
    enum err_code rc = read_group(redis, stream, &pending, last, &problem);

    if (rc && !strstr(problem.detail, "no such key"))
        return err_set_detail(e, rc, problem.detail, "%s", problem.text);
    *ret_wall_us = rc ? 0 : queue_entry_time_us(last);
    return ERR_OK;
}

/* ---- what waits, asked often ---- */

static size_t find_key(const struct queue_stream *streams, size_t count, const redisReply *key)
{
    size_t i = 0;

    while (i < count && (!redis_is_text(key) || strcmp(streams[i].key, key->str) != 0))
        i++;
    return i;
}

/* Which streams hold any entry, by one command: none in an idle system. */
static enum err_code read_filled(struct redis *redis, const struct queue_stream *streams,
                                 size_t count, bool *ret_filled, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    enum err_code rc;

    redis_add(&args, "XREAD");
    redis_add(&args, "COUNT");
    redis_add(&args, "1");
    redis_add(&args, "STREAMS");
    for (size_t i = 0; i < count; i++)
        redis_add(&args, streams[i].key);
    for (size_t i = 0; i < count; i++) {
        redis_add(&args, "0-0");
        ret_filled[i] = false;
    }
    rc = redis_call(redis, &args, &reply, e);
    if (rc)
        return rc;
    for (size_t n = 0; redis_is_array(reply) && n < reply->elements; n++) {
        const redisReply *one = reply->element[n];
        size_t i = redis_is_array(one) && one->elements == 2
                       ? find_key(streams, count, one->element[0])
                       : count;

        if (i == count)
            return redis_bad_reply("XREAD", e);
        ret_filled[i] = true;
    }
    return ERR_OK;
}

enum err_code queue_first_waiting(struct redis *redis, const struct queue_stream *streams,
                                  size_t count, char (*ret_entries)[QUEUE_ENTRY_SIZE],
                                  struct err *e)
{
    AUTO(mem_free) bool *filled = mem_array(count, sizeof *filled);
    enum err_code rc = read_filled(redis, streams, count, filled, e);

    for (size_t i = 0; !rc && i < count; i++) {
        char last[QUEUE_ENTRY_SIZE];
        int64_t pending;

        ret_entries[i][0] = '\0';
        if (!filled[i])
            continue;
        rc = read_group(redis, &streams[i], &pending, last, e);
        if (!rc)
            rc = read_oldest(redis, &streams[i], last, ret_entries[i], e);
    }
    return rc;
}

enum err_code queue_server_time(struct redis *redis, int64_t *ret_wall_us, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    int64_t seconds;
    int64_t us;
    enum err_code rc;

    redis_add(&args, "TIME");
    rc = redis_call(redis, &args, &reply, e);
    if (rc)
        return rc;
    if (!redis_is_array(reply) || reply->elements != 2 || !redis_is_text(reply->element[0]) ||
        !redis_is_text(reply->element[1]) ||
        !text_to_int(reply->element[0]->str, 0, INT64_MAX / US_PER_S, &seconds) ||
        !text_to_int(reply->element[1]->str, 0, US_PER_S - 1, &us))
        return redis_bad_reply("TIME", e);
    *ret_wall_us = seconds * US_PER_S + us;
    return ERR_OK;
}

/* ---- the server ---- */

/* The value of a "key:value" line of INFO. */
static bool info_text(const char *info, const char *key, char *out, size_t size)
{
    size_t len = strlen(key);

    *out = '\0';
    for (const char *line = info; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, len) == 0 && line[len] == ':')
            return text_format(out, size, "%.*s", (int)strcspn(line + len + 1, "\r\n"),
                               line + len + 1);
    }
    return false;
}

static int64_t info_number(const char *info, const char *key)
{
    char text[32];
    int64_t number = 0;

    return info_text(info, key, text, sizeof text) && text_to_int(text, 0, INT64_MAX, &number)
               ? number
               : 0;
}

enum err_code queue_server_info(struct redis *redis, struct queue_server *ret_server, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    const char *info;
    enum err_code rc;

    redis_add(&args, "INFO");
    rc = redis_call(redis, &args, &reply, e);
    if (rc)
        return rc;
    if (!redis_is_text(reply))
        return redis_bad_reply("INFO", e);
    info = reply->str;
    *ret_server = (struct queue_server){
        .uptime_s = info_number(info, "uptime_in_seconds"),
        .clients = info_number(info, "connected_clients"),
        .blocked_clients = info_number(info, "blocked_clients"),
        .memory_bytes = info_number(info, "used_memory"),
        .memory_max_bytes = info_number(info, "maxmemory"),
        .commands_per_s = info_number(info, "instantaneous_ops_per_sec"),
        .appends = info_number(info, "aof_enabled") == 1,
        .saved_us = info_number(info, "rdb_last_save_time") * US_PER_S,
    };
    (void)info_text(info, "redis_version", ret_server->version, sizeof ret_server->version);
    (void)info_text(info, "redis_mode", ret_server->mode, sizeof ret_server->mode);
    (void)info_text(info, "role", ret_server->role, sizeof ret_server->role);
    (void)info_text(info, "maxmemory_policy", ret_server->eviction, sizeof ret_server->eviction);
    return ERR_OK;
}

enum err_code queue_ping(struct redis *redis, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};

    redis_add(&args, "PING");
    return redis_call(redis, &args, NULL, e);
}
