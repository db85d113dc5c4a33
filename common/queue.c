/* SPDX-License-Identifier: MIT
 *
 * Streams as the transport of jobs: producing, holding, acknowledging; see queue.h for the shapes
 * and PROTOCOL.md for producers. Reading is in queue_read.c and queue_entry.c, figures in
 * queue_figures.c, what a worker process says of itself in queue_workers.c; no other file knows a
 * key or a command.
 *
 * The braces in a key are Redis Cluster's hash tag: all streams of a queue share a slot.
 */
#include "common/queue.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/text.h"

static const char *const priority_names[] = {"high", "normal", "low"};

const char *queue_priority_name(enum job_priority priority) { return priority_names[priority]; }

struct queue_stream queue_stream_of(const char *queue, enum job_priority priority)
{
    struct queue_stream stream = {.priority = priority};

    (void)snprintf(stream.queue, sizeof stream.queue, "%s", queue);
    (void)snprintf(stream.key, sizeof stream.key, "till:{%s}:%s", stream.queue,
                   priority_names[priority]);
    return stream;
}

/* hiredis sends all that was appended before it reads any answer: what is on the way in both
 * directions must stay small. */
enum { QUEUE_PUSH_CHUNK = 1000 };

static enum err_code push_chunk(struct redis *redis, const struct queue_stream *stream,
                                const struct uuid *ids, size_t count, struct err *e)
{
    const char *const words[] = {"XADD", stream->key, "*", "job"};

    for (size_t i = 0; i < count; i++) {
        AUTO_VALUE(redis_args_release) struct redis_args args = {0};
        enum err_code rc;

        for (size_t k = 0; k < COUNT_OF(words); k++)
            redis_add(&args, words[k]);
        redis_add(&args, ids[i].text);
        rc = redis_append(redis, &args, e);
        if (rc)
            return rc;
    }
    return redis_take_all(redis, count, e);
}

enum err_code queue_push(struct redis *redis, const struct queue_stream *stream,
                         const struct uuid *ids, size_t count, struct err *e)
{
    enum err_code rc = ERR_OK;

    for (size_t from = 0; from < count && !rc; from += QUEUE_PUSH_CHUNK) {
        size_t left = count - from;

        rc = push_chunk(redis, stream, ids + from,
                        left < QUEUE_PUSH_CHUNK ? left : QUEUE_PUSH_CHUNK, e);
    }
    return rc;
}

/* Adds the ids of those entries that belong to `stream`; how many. */
static size_t add_entries(struct redis_args *args, const struct queue_entry *entries, size_t count,
                          size_t stream)
{
    size_t added = 0;

    for (size_t i = 0; i < count; i++) {
        if (entries[i].stream != stream)
            continue;
        redis_add(args, entries[i].entry);
        added++;
    }
    return added;
}

static size_t highest_stream(const struct queue_entry *entries, size_t count)
{
    size_t highest = 0;

    for (size_t i = 0; i < count; i++)
        if (entries[i].stream > highest)
            highest = entries[i].stream;
    return highest;
}

enum err_code queue_renew(struct redis *redis, const struct queue_stream *streams,
                          const char *consumer, const struct queue_entry *entries, size_t count,
                          struct err *e)
{
    size_t sent = 0;

    for (size_t s = 0; count > 0 && s <= highest_stream(entries, count); s++) {
        AUTO_VALUE(redis_args_release) struct redis_args args = {0};
        enum err_code rc;

        redis_add(&args, "XCLAIM");
        redis_add(&args, streams[s].key);
        redis_add(&args, QUEUE_GROUP);
        redis_add(&args, consumer);
        redis_add(&args, "0");
        if (add_entries(&args, entries, count, s) == 0)
            continue;
        redis_add(&args, "JUSTID");
        rc = redis_append(redis, &args, e);
        if (rc)
            return rc;
        sent++;
    }
    return redis_take_all(redis, sent, e);
}

static enum err_code append_with_entries(struct redis *redis, const char *const *words,
                                         size_t word_count, const struct queue_entry *entries,
                                         size_t count, size_t stream, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};

    for (size_t i = 0; i < word_count; i++)
        redis_add(&args, words[i]);
    (void)add_entries(&args, entries, count, stream);
    return redis_append(redis, &args, e);
}

/* Deleted before they are acknowledged: one that is cut off between the two is pending without
 * contents, and goes when it is next taken over. The other way round it would stay in the stream,
 * and nobody would ever read it again. No MULTI: a Redis that is out of memory refuses whatever
 * stands in one, and this is what frees its memory. */
static enum err_code append_ack(struct redis *redis, const struct queue_stream *stream,
                                size_t index, const struct queue_entry *entries, size_t count,
                                struct err *e)
{
    const char *const del[] = {"XDEL", stream->key};
    const char *const ack[] = {"XACK", stream->key, QUEUE_GROUP};
    enum err_code rc = append_with_entries(redis, del, COUNT_OF(del), entries, count, index, e);

    return rc ? rc : append_with_entries(redis, ack, COUNT_OF(ack), entries, count, index, e);
}

enum err_code queue_ack(struct redis *redis, const struct queue_stream *streams,
                        const struct queue_entry *entries, size_t count, struct err *e)
{
    size_t sent = 0;

    for (size_t s = 0; count > 0 && s <= highest_stream(entries, count); s++) {
        bool any = false;
        enum err_code rc;

        for (size_t i = 0; i < count && !any; i++)
            any = entries[i].stream == s;
        if (!any)
            continue;
        rc = append_ack(redis, &streams[s], s, entries, count, e);
        if (rc)
            return rc;
        sent += 2;
    }
    return redis_take_all(redis, sent, e);
}

int64_t queue_entry_time_us(const char *entry)
{
    int64_t ms = 0;
    size_t digits = strspn(entry, "0123456789");
    char text[24];

    if (digits == 0 || digits >= sizeof text)
        return 0;
    memcpy(text, entry, digits);
    text[digits] = '\0';
    (void)text_to_int(text, 0, INT64_MAX / US_PER_MS, &ms);
    return ms * US_PER_MS;
}
