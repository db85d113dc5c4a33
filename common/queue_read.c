/* SPDX-License-Identifier: MIT
 *
 * Reading streams: new entries, one's own left ones, and those of workers that are gone. Every node
 * of an answer is checked for its type; what an entry says is read in queue_entry.c. See queue.h.
 */
#include "common/queue.h"

#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/queue_aside.h"

void queue_deliveries_release(struct queue_deliveries *deliveries)
{
    for (size_t i = 0; i < deliveries->count; i++)
        queue_delivery_release(&deliveries->items[i]);
    mem_free(deliveries->items);
    *deliveries = (struct queue_deliveries){0};
}

static enum err_code decode_entries(const redisReply *entries, size_t stream, const char *key,
                                    bool taken_over, struct queue_deliveries *deliveries,
                                    struct err *e)
{
    if (!redis_is_array(entries))
        return redis_bad_reply("XREADGROUP", e);
    deliveries->items = mem_resize(deliveries->items, (deliveries->count + entries->elements) *
                                                          sizeof deliveries->items[0]);
    for (size_t i = 0; i < entries->elements; i++) {
        struct queue_delivery *delivery = &deliveries->items[deliveries->count];

        /* XAUTOCLAIM of Redis 6.2 puts nil where an entry was deleted. */
        if (entries->element[i] && entries->element[i]->type == REDIS_REPLY_NIL)
            continue;
        *delivery = (struct queue_delivery){.stream = stream, .taken_over = taken_over};
        if (!queue_delivery_decode(entries->element[i], key, delivery))
            return redis_bad_reply("XREADGROUP", e);
        deliveries->count++;
    }
    return ERR_OK;
}

static enum err_code create_group(struct redis *redis, const struct queue_stream *stream,
                                  struct err *e)
{
    /* From 0, never $: what was added before the group must be read, too. */
    const char *const words[] = {"XGROUP", "CREATE", stream->key, QUEUE_GROUP, "0", "MKSTREAM"};
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    struct err own = {0};
    enum err_code rc;

    for (size_t i = 0; i < COUNT_OF(words); i++)
        redis_add(&args, words[i]);
    rc = redis_call(redis, &args, NULL, &own);
    if (!rc || strcmp(redis_error_word(redis), "BUSYGROUP") == 0)
        return ERR_OK;
    if (strcmp(redis_error_word(redis), "WRONGTYPE") == 0)
        return queue_put_aside(redis, stream->key, "stream", e);
    return err_set_detail(e, rc, own.detail, "%s", own.text);
}

enum err_code queue_create_groups(struct redis *redis, const struct queue_stream *streams,
                                  size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        enum err_code rc = create_group(redis, &streams[i], e);

        if (rc)
            return rc;
    }
    return ERR_OK;
}

static size_t find_stream(const struct queue_stream *streams, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(streams[i].key, key) == 0)
            return i;
    return count;
}

/* [[key, [entry, ...]], ...] or nil, at the end of `deliveries`; their streams count from `from`.
 */
static enum err_code decode_read(const redisReply *reply, const struct queue_stream *streams,
                                 size_t from, size_t count, bool taken_over,
                                 struct queue_deliveries *deliveries, struct err *e)
{
    if (reply->type == REDIS_REPLY_NIL)
        return ERR_OK;
    if (!redis_is_array(reply))
        return redis_bad_reply("XREADGROUP", e);
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *pair = reply->element[i];
        size_t at;
        enum err_code rc;

        if (!redis_is_array(pair) || pair->elements != 2 || !redis_is_text(pair->element[0]))
            return redis_bad_reply("XREADGROUP", e);
        at = find_stream(streams + from, count, pair->element[0]->str);
        if (at == count)
            return redis_bad_reply("XREADGROUP", e);
        rc = decode_entries(pair->element[1], from + at, pair->element[0]->str, taken_over,
                            deliveries, e);
        if (rc)
            return rc;
    }
    return ERR_OK;
}

static enum err_code decode_one(const redisReply *reply, const struct queue_stream *streams,
                                size_t count, bool taken_over,
                                struct queue_deliveries *ret_deliveries, struct err *e)
{
    AUTO_VALUE(queue_deliveries_release) struct queue_deliveries deliveries = {0};
    enum err_code rc = decode_read(reply, streams, 0, count, taken_over, &deliveries, e);

    if (rc)
        return rc;
    *ret_deliveries = deliveries;
    deliveries = (struct queue_deliveries){0};
    return ERR_OK;
}

enum err_code queue_decode_read(const redisReply *reply, const struct queue_stream *streams,
                                size_t count, struct queue_deliveries *ret_deliveries,
                                struct err *e)
{
    return decode_one(reply, streams, count, false, ret_deliveries, e);
}

/* Whether a command was refused for what queue_create_groups() mends. */
static bool is_groupless(const struct redis *redis)
{
    return strcmp(redis_error_word(redis), "NOGROUP") == 0 ||
           strcmp(redis_error_word(redis), "WRONGTYPE") == 0;
}

/* Runs a reading command; a missing group is made anew and counts as nothing read. */
static enum err_code call_reading(struct redis *redis, const struct redis_args *args,
                                  const struct queue_stream *streams, size_t count,
                                  redisReply **ret_reply, struct err *e)
{
    struct err own = {0};
    enum err_code rc = redis_call(redis, args, ret_reply, &own);

    if (rc && is_groupless(redis))
        return queue_create_groups(redis, streams, count, e);
    if (rc)
        return err_set_detail(e, rc, own.detail, "%s", own.text);
    return ERR_OK;
}

/* What to read: new entries (">"), or one's own pending ones after an id. */
struct reading {
    const char *consumer;
    const char *from;
    int max;
    int block_ms; /* 0: do not wait */
};

/* The texts must live as long as the arguments. */
struct reading_texts {
    char max[24];
    char block[24];
};

static void add_reading(struct redis_args *args, const struct queue_stream *streams, size_t count,
                        const struct reading *reading, struct reading_texts *texts)
{
    redis_add(args, "XREADGROUP");
    redis_add(args, "GROUP");
    redis_add(args, QUEUE_GROUP);
    redis_add(args, reading->consumer);
    redis_add(args, "COUNT");
    redis_add_number(args, reading->max, texts->max);
    if (reading->block_ms > 0) {
        redis_add(args, "BLOCK");
        redis_add_number(args, reading->block_ms, texts->block);
    }
    redis_add(args, "STREAMS");
    for (size_t i = 0; i < count; i++)
        redis_add(args, streams[i].key);
    for (size_t i = 0; i < count; i++)
        redis_add(args, reading->from);
}

static enum err_code read_group(struct redis *redis, const struct queue_stream *streams,
                                size_t count, const struct reading *reading,
                                struct queue_deliveries *ret_deliveries, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    bool is_new = strcmp(reading->from, ">") == 0;
    struct reading_texts texts;
    enum err_code rc;

    add_reading(&args, streams, count, reading, &texts);
    rc = call_reading(redis, &args, streams, count, &reply, e);
    if (rc)
        return rc;
    if (!reply) {
        *ret_deliveries = (struct queue_deliveries){0};
        return ERR_OK;
    }
    return decode_one(reply, streams, count, !is_new, ret_deliveries, e);
}

enum err_code queue_read(struct redis *redis, const struct queue_stream *streams, size_t count,
                         const char *consumer, int max, int block_ms,
                         struct queue_deliveries *ret_deliveries, struct err *e)
{
    const struct reading reading = {
        .consumer = consumer, .from = ">", .max = max, .block_ms = block_ms};

    return read_group(redis, streams, count, &reading, ret_deliveries, e);
}

static enum err_code append_reading(struct redis *redis, const struct queue_stream *streams,
                                    size_t count, const struct reading *reading, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    struct reading_texts texts;

    add_reading(&args, streams, count, reading, &texts);
    return redis_append(redis, &args, e);
}

/* Both answers are taken whatever the first is: what it brought is pending under our name. */
static enum err_code call_both(struct redis *redis, const struct queue_stream *streams,
                               const size_t count[2], const int max[2], const char *consumer,
                               redisReply *ret_replies[2], struct err *e)
{
    struct err own = {0};
    enum err_code rc = ERR_OK;

    for (int i = 0; !rc && i < 2; i++) {
        const struct reading reading = {.consumer = consumer, .from = ">", .max = max[i]};

        rc = append_reading(redis, streams + (i == 0 ? 0 : count[0]), count[i], &reading, e);
    }
    if (rc)
        return rc;
    rc = redis_take_each(redis, ret_replies, 2, &own);
    if (rc && is_groupless(redis))
        return queue_create_groups(redis, streams, count[0] + count[1], e);
    return rc ? err_set_detail(e, rc, own.detail, "%s", own.text) : ERR_OK;
}

enum err_code queue_read_both(struct redis *redis, const struct queue_stream *streams,
                              const size_t count[2], const int max[2], const char *consumer,
                              struct queue_deliveries *ret_deliveries, struct err *e)
{
    AUTO(freeReplyObject) redisReply *first = NULL;
    AUTO(freeReplyObject) redisReply *second = NULL;
    redisReply *replies[2] = {NULL, NULL};
    enum err_code rc = call_both(redis, streams, count, max, consumer, replies, e);
    enum err_code bad = ERR_OK;

    first = replies[0];
    second = replies[1];
    *ret_deliveries = (struct queue_deliveries){0};
    if (first)
        bad = decode_read(first, streams, 0, count[0], false, ret_deliveries, e);
    if (second && !bad)
        bad = decode_read(second, streams, count[0], count[1], false, ret_deliveries, e);
    return rc ? rc : bad;
}

enum err_code queue_read_own(struct redis *redis, const struct queue_stream *streams, size_t stream,
                             const char *consumer, int max, const char *cursor,
                             struct queue_deliveries *ret_deliveries, struct err *e)
{
    const struct reading reading = {.consumer = consumer, .from = cursor, .max = max};
    enum err_code rc = read_group(redis, &streams[stream], 1, &reading, ret_deliveries, e);

    for (size_t i = 0; !rc && i < ret_deliveries->count; i++)
        ret_deliveries->items[i].stream = stream;
    return rc;
}

enum err_code queue_take_over(struct redis *redis, const struct queue_stream *streams,
                              size_t stream, const char *consumer, int max, int64_t lease_ms,
                              char *cursor, struct queue_deliveries *ret_deliveries, struct err *e)
{
    AUTO_VALUE(queue_deliveries_release) struct queue_deliveries deliveries = {0};
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    char max_text[24];
    char lease_text[24];
    enum err_code rc;

    redis_add(&args, "XAUTOCLAIM");
    redis_add(&args, streams[stream].key);
    redis_add(&args, QUEUE_GROUP);
    redis_add(&args, consumer);
    redis_add_number(&args, lease_ms, lease_text);
    redis_add(&args, cursor);
    redis_add(&args, "COUNT");
    redis_add_number(&args, max, max_text);
    rc = call_reading(redis, &args, &streams[stream], 1, &reply, e);
    if (rc)
        return rc;
    if (!reply) {
        (void)snprintf(cursor, QUEUE_ENTRY_SIZE, "0-0");
        *ret_deliveries = (struct queue_deliveries){0};
        return ERR_OK;
    }
    if (!redis_is_array(reply) || reply->elements < 2 || !redis_is_text(reply->element[0]) ||
        !text_format(cursor, QUEUE_ENTRY_SIZE, "%s", reply->element[0]->str))
        return redis_bad_reply("XAUTOCLAIM", e);
    rc = decode_entries(reply->element[1], stream, streams[stream].key, true, &deliveries, e);
    if (rc)
        return rc;
    *ret_deliveries = deliveries;
    deliveries = (struct queue_deliveries){0};
    return ERR_OK;
}

enum err_code queue_client_id(struct redis *redis, int64_t *ret_client, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    enum err_code rc;

    redis_add(&args, "CLIENT");
    redis_add(&args, "ID");
    rc = redis_call(redis, &args, &reply, e);
    if (rc)
        return rc;
    if (reply->type != REDIS_REPLY_INTEGER)
        return redis_bad_reply("CLIENT ID", e);
    *ret_client = reply->integer;
    return ERR_OK;
}

enum err_code queue_unblock(struct redis *redis, int64_t client, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    char id[24];

    redis_add(&args, "CLIENT");
    redis_add(&args, "UNBLOCK");
    redis_add_number(&args, client, id);
    return redis_call(redis, &args, NULL, e);
}
