/* SPDX-License-Identifier: MIT
 *
 * What an entry of a stream says. Producers of any kind have written it: whatever it holds becomes
 * a delivery, and every node of the answer is checked for its type. See queue.h and PROTOCOL.md.
 */
#include "common/queue.h"

#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/job_options.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"
#include "common/trace.h"

/* The year 9999 (clock_format() has four digits). */
#define TIME_MAX_MS INT64_C(253402300799999)

void queue_delivery_release(struct queue_delivery *delivery)
{
    mem_free(delivery->task);
    mem_free(delivery->args);
    mem_free(delivery->kwargs);
    mem_free(delivery->headers);
    mem_free(delivery->traceparent);
    mem_free(delivery->payload);
    mem_free(delivery->reason);
    *delivery = (struct queue_delivery){0};
}

static const redisReply *find_field(const redisReply *fields, const char *name)
{
    for (size_t i = 0; i + 1 < fields->elements; i += 2)
        if (redis_is_text(fields->element[i]) && strcmp(fields->element[i]->str, name) == 0)
            return redis_is_text(fields->element[i + 1]) ? fields->element[i + 1] : NULL;
    return NULL;
}

/* The value as owned text, or NULL when it is absent, too long or not UTF-8. */
static char *field_text(const redisReply *fields, const char *name, size_t max)
{
    const redisReply *value = find_field(fields, name);

    if (!value || (size_t)value->len > max || !text_is_utf8(value->str, (size_t)value->len))
        return NULL;
    return mem_dup_n(value->str, (size_t)value->len);
}

/* Keeps the fields byte for byte, as netstrings ("5:hello,"; D. J. Bernstein, 1997). */
static void keep_payload(const redisReply *fields, struct queue_delivery *delivery)
{
    AUTO_VALUE(buf_release) struct buf payload;

    buf_init(&payload, QUEUE_PAYLOAD_MAX);
    for (size_t i = 0; i < fields->elements; i++) {
        const redisReply *word = fields->element[i];

        if (!redis_is_text(word))
            continue;
        buf_addf(&payload, "%zu:", (size_t)word->len);
        buf_add(&payload, word->str, (size_t)word->len);
        buf_add_char(&payload, ',');
    }
    delivery->payload_len = payload.len;
    delivery->payload = buf_take(&payload);
}

/* The same entry, met again, gets the same id: its row is written once. */
static struct uuid id_of_entry(const char *key, const char *entry)
{
    char origin[sizeof((struct queue_stream *)0)->key + QUEUE_ENTRY_SIZE + 1];
    size_t key_len = strlen(key);
    size_t entry_len = strlen(entry);

    memcpy(origin, key, key_len); /* NOLINT(bugprone-not-null-terminated-result): bytes */
    origin[key_len] = ' ';
    /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): its length goes along */
    memcpy(origin + key_len + 1, entry, entry_len);
    return uuid_from_bytes(queue_entry_time_us(entry) / US_PER_MS, origin, key_len + 1 + entry_len);
}

struct uuid queue_fast_id(const struct queue_stream *stream, const char *entry)
{
    return id_of_entry(stream->key, entry);
}

static void mark_undecodable(const redisReply *fields, const char *key, const char *reason,
                             struct queue_delivery *delivery)
{
    delivery->kind = DELIVERY_UNDECODABLE;
    delivery->reason = mem_dup(reason);
    keep_payload(fields, delivery);
    delivery->id = id_of_entry(key, delivery->entry);
}

/* What PostgreSQL takes as jsonb, since a fast job that fails becomes a row. */
static bool is_json(const char *text, json_type type)
{
    AUTO(json_decref) json_t *value = NULL;

    return !json_read(text, strlen(text), JOB_ARGS_MAX, &value, NULL) &&
           json_typeof(value) == type && !json_is_too_fine(text);
}

/* Headers, trace and expiry; gives what is wrong with them, or NULL. A trace that cannot be read is
 * left out: it says something about the job's caller, and nothing about the job. */
static const char *decode_options(const redisReply *fields, struct queue_delivery *delivery)
{
    AUTO(mem_free) char *traceparent = field_text(fields, "traceparent", JOB_TRACEPARENT_MAX);
    AUTO(mem_free) char *expires = field_text(fields, "expires", 24);
    struct trace trace;
    int64_t ms = 0;

    delivery->headers = field_text(fields, "headers", JOB_HEADERS_JSON);
    if (find_field(fields, "headers") &&
        (!delivery->headers || job_headers_check(delivery->headers, NULL)))
        return "the entry's headers are no JSON object of at most 32 short texts";
    if (find_field(fields, "expires") && (!expires || !text_to_int(expires, 0, TIME_MAX_MS, &ms)))
        return "the entry's \"expires\" is no time in milliseconds";
    delivery->expires_us = ms * US_PER_MS;
    if (traceparent && trace_parse(traceparent, &trace)) {
        delivery->traceparent = mem_alloc(TRACE_TEXT_SIZE);
        trace_format(&trace, delivery->traceparent);
    }
    delivery->trace_dropped = find_field(fields, "traceparent") && !delivery->traceparent;
    return NULL;
}

/* What is wrong with them, or NULL. Most jobs have none, and nothing is allocated for those. */
static const char *decode_arguments(const redisReply *fields, struct queue_delivery *delivery)
{
    if (find_field(fields, "args"))
        delivery->args = field_text(fields, "args", JOB_ARGS_MAX);
    if (find_field(fields, "kwargs"))
        delivery->kwargs = field_text(fields, "kwargs", JOB_ARGS_MAX);
    if ((find_field(fields, "args") && !delivery->args) ||
        (find_field(fields, "kwargs") && !delivery->kwargs))
        return "the entry's args or kwargs are too long or not UTF-8";
    if ((delivery->args && !is_json(delivery->args, JSON_ARRAY)) ||
        (delivery->kwargs && !is_json(delivery->kwargs, JSON_OBJECT)))
        return "the entry's args are no JSON array or its kwargs no object";
    return NULL;
}

/* Fields that were looked at so far: nearly no entry has more. */
static size_t count_known(const struct queue_delivery *delivery, bool has_id)
{
    return 1u + (delivery->args ? 1u : 0u) + (delivery->kwargs ? 1u : 0u) + (has_id ? 1u : 0u);
}

/* What is wrong with the entry, or NULL. */
static const char *decode_fields(const redisReply *fields, const redisReply *id,
                                 struct queue_delivery *delivery)
{
    const char *problem;

    delivery->task = field_text(fields, "task", JOB_NAME_MAX);
    if (!delivery->task || !text_is_name(delivery->task))
        return "the entry's \"task\" is no name of a task";
    problem = decode_arguments(fields, delivery);
    if (problem)
        return problem;
    if (id && !uuid_parse(id->str, &delivery->id))
        return "the entry's \"id\" is no UUID";
    if (fields->elements > 2 * count_known(delivery, id != NULL))
        return decode_options(fields, delivery);
    return NULL;
}

static void decode_fast(const redisReply *fields, const char *key, struct queue_delivery *delivery)
{
    const redisReply *id = find_field(fields, "id");
    const char *problem;

    delivery->kind = DELIVERY_FAST;
    problem = decode_fields(fields, id, delivery);
    if (problem)
        mark_undecodable(fields, key, problem, delivery);
    else if (!id)
        delivery->id = id_of_entry(key, delivery->entry);
}

/* [id, [field, value, ...]]; the fields of an entry that was deleted meanwhile are nil. */
bool queue_delivery_decode(const redisReply *reply, const char *key,
                           struct queue_delivery *delivery)
{
    const redisReply *fields;
    const redisReply *job;

    if (!redis_is_array(reply) || reply->elements != 2 || !redis_is_text(reply->element[0]) ||
        reply->element[0]->len >= (int)sizeof delivery->entry)
        return false;
    memcpy(delivery->entry, reply->element[0]->str, (size_t)reply->element[0]->len + 1);
    fields = reply->element[1];
    if (!redis_is_array(fields)) {
        delivery->kind = DELIVERY_GONE;
        return true;
    }
    job = find_field(fields, "job");
    delivery->kind = DELIVERY_DURABLE;
    if (job) {
        if (!uuid_parse(job->str, &delivery->id))
            mark_undecodable(fields, key, "the entry's \"job\" is no UUID", delivery);
    } else if (find_field(fields, "task")) {
        decode_fast(fields, key, delivery);
    } else {
        mark_undecodable(fields, key, "the entry has neither \"job\" nor \"task\"", delivery);
    }
    return true;
}
