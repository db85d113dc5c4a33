/* SPDX-License-Identifier: MIT
 *
 * The script that reads a limited queue, and waiting for such queues; see queue_limit.h.
 *
 *   till:{QUEUE}:bucket  string: when the bucket will be full again, microseconds of Redis' time
 *   till:{QUEUE}:permits hash: who has a permit to read, "<entries> <second given>"
 *   till:{QUEUE}:place   stream of one entry: its id changes when a place may be free
 *
 * The bucket is the generic cell rate algorithm (ITU-T I.371): one number instead of a count of
 * tokens and a time, and nothing at all once it is full. An emptied Redis has a full bucket.
 */
#include "common/queue_limit.h"

#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/queue_aside.h"
#include "common/text.h"

enum {
    STREAMS = JOB_PRIORITY_COUNT,
    KEY_SIZE = JOB_NAME_MAX + 24,
    PLAIN_MIN = 32,
    PLAIN_MAX = 256,
    PERMIT_SECONDS = 10,
};

/* KEYS: the streams in the order of reading, the bucket, the permits.
 * ARGV: group, consumer, most entries wanted, concurrency (0: any), rate (0: any) and its period in
 * microseconds, burst, tokens given back, PLAIN_MIN, PLAIN_MAX, PERMIT_SECONDS.
 * Answer: 1 when full, microseconds until the next token, how many the caller may read by itself,
 * [[key, [entry, ...]], ...].
 *
 * Entries that go through a script cost several times what they cost otherwise. So where many wait,
 * the script only permits: the caller reads up to that many by itself and gives the permit up.
 * Until then its places are taken for everybody else. Who asks again has no permit any more; one
 * that nobody gives up is void after a while, and the holder knows. */
static const char read_script[] =
    "local group, consumer, max = ARGV[1], ARGV[2], tonumber(ARGV[3])\n"
    "local limit, rate, burst = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[7])\n"
    "local plain_min, plain_max = tonumber(ARGV[9]), tonumber(ARGV[10])\n"
    "local streams, bucket, permits = #KEYS - 2, KEYS[#KEYS - 1], KEYS[#KEYS]\n"
    "local room, full, wait, pending, waiting = max, 0, 0, 0, 0\n"
    "local now, cost, tat = 0, 0, 0\n"
    "local time = redis.call('TIME')\n"
    "for i = 1, streams do\n"
    "  local held = redis.pcall('XPENDING', KEYS[i], group)\n"
    "  if held.err then return held end\n"
    "  pending = pending + held[1]\n"
    "  waiting = waiting + redis.call('XLEN', KEYS[i])\n"
    "end\n"
    "waiting = waiting - pending\n"
    "if limit > 0 then\n"
    "  local given = redis.call('HGETALL', permits)\n"
    "  for i = 1, #given, 2 do\n"
    "    local count, second = string.match(given[i + 1], '^(%d+) (%d+)$')\n"
    "    if given[i] == consumer or not second or time[1] - second > tonumber(ARGV[11]) then\n"
    "      redis.call('HDEL', permits, given[i])\n"
    "    else\n"
    "      pending = pending + count\n"
    "    end\n"
    "  end\n"
    "  if limit - pending <= max then\n"
    "    room = limit - pending\n"
    "    full = 1\n"
    "  end\n"
    "end\n"
    "if rate > 0 then\n"
    "  now = time[1] * 1000000 + time[2]\n"
    "  cost = ARGV[6] / rate\n"
    "  tat = (tonumber(redis.call('GET', bucket) or 0) or 0) - ARGV[8] * cost\n"
    "  tat = math.min(math.max(tat, now), now + burst * cost)\n"
    "  room = math.min(room, math.floor(burst - (tat - now) / cost + 1e-6))\n"
    "end\n"
    "local got, answer, permit = 0, {}, math.min(room, waiting, plain_max)\n"
    "if permit >= plain_min then got = permit else permit = 0 end\n"
    "if permit > 0 and limit > 0 then\n"
    "  redis.call('HSET', permits, consumer, permit .. ' ' .. time[1])\n"
    "end\n"
    "for i = 1, streams do\n"
    "  if got >= room or permit > 0 then break end\n"
    "  local read = redis.pcall('XREADGROUP', 'GROUP', group, consumer, 'COUNT', room - got,\n"
    "    'STREAMS', KEYS[i], '>')\n"
    "  if read then\n"
    "    if read.err then if got == 0 then return read end break end\n"
    "    got = got + #read[1][2]\n"
    "    answer[#answer + 1] = read[1]\n"
    "  end\n"
    "end\n"
    "if rate > 0 then\n"
    "  tat = tat + got * cost\n"
    "  if got > 0 or ARGV[8] ~= '0' then\n"
    "    redis.call('SET', bucket, string.format('%.3f', tat), 'PX',\n"
    "      math.ceil((tat - now) / 1000) + 1)\n"
    "  end\n"
    "  wait = math.max(0, math.ceil(tat - now - (burst - 1) * cost))\n"
    "end\n"
    "if got < room then full = 0 end\n"
    "return {full, wait, permit, answer}\n";

static void queue_key(const char *queue, const char *suffix, char *out)
{
    (void)snprintf(out, KEY_SIZE, "till:{%s}:%s", queue, suffix);
}

/* What the script answered; gives the number that may be read without it. */
static enum err_code decode(const redisReply *reply, const struct queue_stream *streams,
                            struct queue_deliveries *ret_deliveries, struct queue_gate *ret_gate,
                            int *ret_permit, struct err *e)
{
    if (!redis_is_array(reply) || reply->elements != 4)
        return redis_bad_reply("EVALSHA", e);
    for (size_t i = 0; i < 3; i++)
        if (reply->element[i]->type != REDIS_REPLY_INTEGER)
            return redis_bad_reply("EVALSHA", e);
    *ret_gate = (struct queue_gate){.is_full = reply->element[0]->integer == 1,
                                    .wait_us = reply->element[1]->integer};
    *ret_permit = (int)reply->element[2]->integer;
    return queue_decode_read(reply->element[3], streams, STREAMS, ret_deliveries, e);
}

/* Whatever the script met that is of another type than it should be. */
static enum err_code put_aside(struct redis *redis, const struct queue_read_order *order,
                               struct err *e)
{
    char key[KEY_SIZE];
    enum err_code rc = queue_create_groups(redis, order->streams, STREAMS, e);

    queue_key(order->streams[0].queue, "bucket", key);
    if (!rc)
        rc = queue_put_aside(redis, key, "string", e);
    queue_key(order->streams[0].queue, "permits", key);
    return rc ? rc : queue_put_aside(redis, key, "hash", e);
}

/* One run of the script, which reads by itself, or permits. `unused`: tokens to be given back. */
static enum err_code run_script(struct redis *redis, struct queue_script *script,
                                const struct queue_read_order *order, int max, int unused,
                                struct queue_deliveries *ret_deliveries,
                                struct queue_gate *ret_gate, int *ret_permit, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    const struct limit *limit = order->limit;
    const int64_t numbers[] = {max,           limit->concurrency,
                               limit->rate,   limit->per_seconds * US_PER_S,
                               limit->burst,  unused,
                               PLAIN_MIN,     PLAIN_MAX,
                               PERMIT_SECONDS};
    char texts[COUNT_OF(numbers)][24];
    char keys[24];
    char bucket[KEY_SIZE];
    char permits[KEY_SIZE];
    struct err own = {0};
    enum err_code rc;

    queue_key(order->streams[0].queue, "bucket", bucket);
    queue_key(order->streams[0].queue, "permits", permits);
    redis_add(&args, "EVALSHA");
    redis_add(&args, "");
    redis_add_number(&args, STREAMS + 2, keys);
    for (size_t i = 0; i < STREAMS; i++)
        redis_add(&args, order->streams[i].key);
    redis_add(&args, bucket);
    redis_add(&args, permits);
    redis_add(&args, QUEUE_GROUP);
    redis_add(&args, order->consumer);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        redis_add_number(&args, numbers[i], texts[i]);
    if (!script->text)
        script->text = read_script;
    rc = queue_script_call(redis, script, &args, &reply, &own);
    if (rc && strcmp(redis_error_word(redis), "NOGROUP") == 0)
        return queue_create_groups(redis, order->streams, STREAMS, e);
    if (rc && strcmp(redis_error_word(redis), "WRONGTYPE") == 0 && put_aside(redis, order, e))
        return ERR_UNAVAILABLE;
    if (rc)
        return err_set_detail(e, rc, own.detail, "%s", own.text);
    return decode(reply, order->streams, ret_deliveries, ret_gate, ret_permit, e);
}

/* Moves what one stream gave to the end of `into`. */
static void collect(struct queue_deliveries *take, size_t stream, struct queue_deliveries *into)
{
    if (take->count == 0)
        return;
    into->items = mem_resize(into->items, (into->count + take->count) * sizeof into->items[0]);
    for (size_t i = 0; i < take->count; i++) {
        take->items[i].stream = stream;
        into->items[into->count++] = take->items[i];
    }
    take->count = 0;
}

/* Uses a permit: reads up to `max`, the streams one after the other. A process that was frozen for
 * long does not read any more: the permit may be void by then. */
static enum err_code read_permitted(struct redis *redis, const struct queue_read_order *order,
                                    int max, int64_t given_at, struct queue_deliveries *deliveries,
                                    struct err *e)
{
    enum err_code rc = ERR_OK;

    for (size_t i = 0; i < STREAMS && (int)deliveries->count < max && !rc; i++) {
        AUTO_VALUE(queue_deliveries_release) struct queue_deliveries got = {0};

        if (clock_mono_us() - given_at > PERMIT_SECONDS * US_PER_S / 2)
            break;
        rc = queue_read(redis, &order->streams[i], 1, order->consumer, max - (int)deliveries->count,
                        0, &got, e);
        if (!rc)
            collect(&got, i, deliveries);
    }
    return rc;
}

static enum err_code give_permit_up(struct redis *redis, const struct queue_read_order *order,
                                    struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    char permits[KEY_SIZE];

    queue_key(order->streams[0].queue, "permits", permits);
    redis_add(&args, "HDEL");
    redis_add(&args, permits);
    redis_add(&args, order->consumer);
    return redis_call(redis, &args, &reply, e);
}

enum err_code queue_read_limited(struct redis *redis, struct queue_script *script,
                                 const struct queue_read_order *order, int max,
                                 struct queue_deliveries *ret_deliveries,
                                 struct queue_gate *ret_gate, struct err *e)
{
    AUTO_VALUE(queue_deliveries_release) struct queue_deliveries none = {0};
    int64_t asked_at = clock_mono_us();
    int permit = 0;
    int unused;
    enum err_code rc;

    *ret_deliveries = (struct queue_deliveries){0};
    *ret_gate = (struct queue_gate){0};
    rc = run_script(redis, script, order, max, 0, ret_deliveries, ret_gate, &permit, e);
    if (rc || permit == 0)
        return rc;
    rc = read_permitted(redis, order, permit, asked_at, ret_deliveries, e);
    unused = permit - (int)ret_deliveries->count;
    if (!rc && unused > 0) /* another was faster: the tokens back, and nothing more */
        return run_script(redis, script, order, 0, unused, &none, ret_gate, &permit, e);
    if (!rc && order->limit->concurrency > 0)
        rc = give_permit_up(redis, order, e);
    return rc;
}

/* ---- waiting ---- */

static void watch_key(const struct queue_watch *watch, char *out)
{
    if (watch->is_place)
        queue_key(watch->stream.queue, "place", out);
    else
        (void)snprintf(out, KEY_SIZE, "%s", watch->stream.key);
}

static enum err_code append_last(struct redis *redis, const struct queue_watch *watch,
                                 struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    char key[KEY_SIZE];

    watch_key(watch, key);
    redis_add(&args, "XREVRANGE");
    redis_add(&args, key);
    redis_add(&args, "+");
    redis_add(&args, "-");
    redis_add(&args, "COUNT");
    redis_add(&args, "1");
    return redis_append(redis, &args, e);
}

static enum err_code take_last(struct redis *redis, struct queue_watch *watch, struct err *e)
{
    AUTO(freeReplyObject) redisReply *reply = NULL;
    enum err_code rc = redis_take(redis, &reply, e);

    if (rc)
        return rc;
    (void)snprintf(watch->last, sizeof watch->last, "0-0");
    if (redis_is_array(reply) && reply->elements == 1 && redis_is_array(reply->element[0]) &&
        reply->element[0]->elements > 0 && redis_is_text(reply->element[0]->element[0]))
        (void)snprintf(watch->last, sizeof watch->last, "%s", reply->element[0]->element[0]->str);
    return ERR_OK;
}

static enum err_code put_watched_aside(struct redis *redis, const struct queue_watch *watches,
                                       size_t count, struct err *e)
{
    enum err_code rc = ERR_OK;

    for (size_t i = 0; i < count && !rc; i++) {
        char key[KEY_SIZE];

        watch_key(&watches[i], key);
        rc = queue_put_aside(redis, key, "stream", e);
    }
    return rc;
}

enum err_code queue_watch_from_now(struct redis *redis, struct queue_watch *watches, size_t count,
                                   struct err *e)
{
    struct err own = {0};
    enum err_code rc = ERR_OK;

    for (size_t i = 0; i < count && !rc; i++)
        rc = append_last(redis, &watches[i], &own);
    for (size_t i = 0; i < count && !rc; i++)
        rc = take_last(redis, &watches[i], &own);
    if (rc && strcmp(redis_error_word(redis), "WRONGTYPE") == 0 &&
        put_watched_aside(redis, watches, count, e))
        return ERR_UNAVAILABLE;
    return rc ? err_set_detail(e, rc, own.detail, "%s", own.text) : ERR_OK;
}

enum err_code queue_watch_wait(struct redis *redis, const struct queue_watch *watches, size_t count,
                               int block_ms, bool *ret_new, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    AUTO(mem_free) char *keys = mem_array(count, KEY_SIZE);
    char block_text[24];
    enum err_code rc;

    redis_add(&args, "XREAD");
    redis_add(&args, "COUNT");
    redis_add(&args, "1");
    redis_add(&args, "BLOCK");
    redis_add_number(&args, block_ms, block_text);
    redis_add(&args, "STREAMS");
    for (size_t i = 0; i < count; i++) {
        watch_key(&watches[i], keys + i * KEY_SIZE);
        redis_add(&args, keys + i * KEY_SIZE);
    }
    for (size_t i = 0; i < count; i++)
        redis_add(&args, watches[i].last);
    rc = redis_call(redis, &args, &reply, e);
    if (!rc)
        *ret_new = reply->type != REDIS_REPLY_NIL;
    return rc;
}

enum err_code queue_tell_place(struct redis *redis, const struct queue_stream *const *streams,
                               size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        AUTO_VALUE(redis_args_release) struct redis_args args = {0};
        char key[KEY_SIZE];
        enum err_code rc;

        queue_key(streams[i]->queue, "place", key);
        redis_add(&args, "XADD");
        redis_add(&args, key);
        redis_add(&args, "MAXLEN");
        redis_add(&args, "1");
        redis_add(&args, "*");
        redis_add(&args, "free");
        redis_add(&args, "1");
        rc = redis_append(redis, &args, e);
        if (rc)
            return rc;
    }
    return redis_take_all(redis, count, e);
}
