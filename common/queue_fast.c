/* SPDX-License-Identifier: MIT
 *
 * Stream entries that are jobs by themselves; see queue_fast.h. PROTOCOL.md lists the fields. Owns
 * nothing.
 */
#include "common/queue_fast.h"

#include "common/clock.h"

/* hiredis sends all that was appended before it reads any answer: what is on the way in both
 * directions must stay small. */
enum { FAST_PUSH_CHUNK = 1000 };

static enum err_code check_fast(const struct job_new *job, struct err *e)
{
    const char *what = job->scheduled_us   ? "a time"
                       : job->unique_key   ? "a unique key"
                       : job->max_attempts ? "a number of attempts"
                       : job->retention_s  ? "a retention"
                       : job->limit_key    ? "a limit's key"
                                           : NULL;

    if (!what)
        return ERR_OK;
    return err_set(e, ERR_INVALID, "a fast job has no row that could hold %s", what);
}

static void add_field(struct redis_args *args, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    redis_add(args, name);
    redis_add(args, value);
}

static enum err_code append_job(struct redis *redis, const struct queue_stream *stream,
                                const struct job_new *job, struct redis_args *args, struct err *e)
{
    char expires[24];

    args->count = 0;
    redis_add(args, "XADD");
    redis_add(args, stream->key);
    redis_add(args, "*");
    add_field(args, "task", job->task);
    add_field(args, "args", job->args);
    add_field(args, "kwargs", job->kwargs);
    add_field(args, "id", job->id.text);
    add_field(args, "headers", job->headers);
    add_field(args, "traceparent", job->traceparent);
    if (job->expires_us) {
        redis_add(args, "expires");
        redis_add_number(args, job->expires_us / US_PER_MS, expires);
    }
    return redis_append(redis, args, e);
}

/* The id that the job was given, or the one that every reader makes from its entry. */
static enum err_code take_id(struct redis *redis, const struct queue_stream *stream,
                             const struct job_new *job, struct uuid *ret_id, struct err *e)
{
    AUTO(freeReplyObject) redisReply *reply = NULL;
    enum err_code rc = redis_take(redis, &reply, e);

    if (rc)
        return rc;
    if (!redis_is_text(reply) || reply->len >= QUEUE_ENTRY_SIZE)
        return redis_bad_reply("XADD", e);
    *ret_id = *job->id.text ? job->id : queue_fast_id(stream, reply->str);
    return ERR_OK;
}

static enum err_code push_chunk(struct redis *redis, const struct queue_stream *stream,
                                const struct job_new *jobs, size_t count, struct uuid *ret_ids,
                                struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    enum err_code rc = ERR_OK;

    for (size_t i = 0; i < count && !rc; i++)
        rc = append_job(redis, stream, &jobs[i], &args, e);
    if (rc)
        return rc;
    if (!ret_ids)
        return redis_take_all(redis, count, e);
    for (size_t i = 0; i < count && !rc; i++)
        rc = take_id(redis, stream, &jobs[i], &ret_ids[i], e);
    return rc;
}

enum err_code queue_push_fast(struct redis *redis, const struct queue_stream *stream,
                              const struct job_new *jobs, size_t count, struct uuid *ret_ids,
                              struct err *e)
{
    enum err_code rc = ERR_OK;

    for (size_t i = 0; i < count && !rc; i++)
        rc = check_fast(&jobs[i], e);
    for (size_t from = 0; from < count && !rc; from += FAST_PUSH_CHUNK) {
        size_t left = count - from;

        rc = push_chunk(redis, stream, jobs + from, left < FAST_PUSH_CHUNK ? left : FAST_PUSH_CHUNK,
                        ret_ids ? ret_ids + from : NULL, e);
    }
    return rc;
}
