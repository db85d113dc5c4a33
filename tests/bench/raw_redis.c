/* SPDX-License-Identifier: MIT
 *
 * What hiredis alone does with one stream: the limit of the queue. Adds N entries in pipelines of
 * 1,000, then reads them in batches by XREADGROUP, XACK and XDEL from T threads, as the worker
 * does, and does nothing with them. Then once more, with all of the reading before all of the
 * acknowledging. Prints jobs a second of each.
 *
 *   raw_redis SOCKET JOBS THREADS BATCH
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/text.h"

#define KEY "till:{bench}:normal"

enum { PIPELINE = 1000, BATCH_MAX = 1024, THREADS_MAX = 16 };

struct entry {
    char id[24]; /* milliseconds, a dash, a number among those of one millisecond */
};

struct reader {
    const char *socket;
    int batch;
    char name[16];
    struct entry *entries; /* owned, room for all: what it has read and not acknowledged */
    size_t count;
};

static int64_t number(const char *text)
{
    int64_t value;

    if (!text_to_int(text, 1, 100000000, &value))
        exit(2);
    return value;
}

static void call(redisContext *redis, int argc, const char **argv)
{
    redisReply *reply = redisCommandArgv(redis, argc, argv, NULL);

    if (!reply) {
        (void)fprintf(stderr, "raw_redis: %s\n", redis->errstr);
        exit(1);
    }
    freeReplyObject(reply);
}

static void produce(redisContext *redis, int64_t jobs)
{
    const char *words[] = {"XADD", KEY, "*", "task", "till.tasks.noop"};
    void *reply;

    for (int64_t sent = 0; sent < jobs; sent += PIPELINE) {
        for (int i = 0; i < PIPELINE; i++)
            (void)redisAppendCommandArgv(redis, 5, words, NULL);
        for (int i = 0; i < PIPELINE; i++) {
            if (redisGetReply(redis, &reply) != REDIS_OK)
                exit(1);
            freeReplyObject(reply);
        }
    }
}

/* Acknowledges and deletes. */
static void settle(redisContext *redis, const char *const *ids, int count)
{
    const char *ack[BATCH_MAX + 3] = {"XACK", KEY, "till"};
    const char *del[BATCH_MAX + 2] = {"XDEL", KEY};
    void *reply;

    for (int i = 0; i < count; i++)
        ack[3 + i] = del[2 + i] = ids[i];
    (void)redisAppendCommandArgv(redis, 3 + count, ack, NULL);
    (void)redisAppendCommandArgv(redis, 2 + count, del, NULL);
    for (int i = 0; i < 2; i++) {
        if (redisGetReply(redis, &reply) != REDIS_OK)
            exit(1);
        freeReplyObject(reply);
    }
}

/* One batch; freed by the caller. Its ids are valid as long; none when the stream is empty. */
static redisReply *read_batch(redisContext *redis, const struct reader *reader,
                              const char *ids[BATCH_MAX], int *ret_count)
{
    char batch[16];
    const char *words[] = {"XREADGROUP", "GROUP",   "till", reader->name, "COUNT",
                           batch,        "STREAMS", KEY,    ">"};
    redisReply *reply;
    const redisReply *entries;

    (void)snprintf(batch, sizeof batch, "%d", reader->batch);
    reply = redisCommandArgv(redis, 9, words, NULL);
    if (!reply || reply->type == REDIS_REPLY_ERROR)
        exit(1);
    *ret_count = 0;
    if (reply->type != REDIS_REPLY_ARRAY)
        return reply;
    entries = reply->element[0]->element[1];
    for (size_t i = 0; i < entries->elements; i++)
        ids[(*ret_count)++] = entries->element[i]->element[0]->str;
    return reply;
}

static void *consume(void *context)
{
    const struct reader *reader = context;
    redisContext *redis = redisConnectUnix(reader->socket);
    const char *ids[BATCH_MAX];
    int count;

    do {
        redisReply *reply = read_batch(redis, reader, ids, &count);

        if (count > 0)
            settle(redis, ids, count);
        freeReplyObject(reply);
    } while (count > 0);
    redisFree(redis);
    return NULL;
}

static void *read_all(void *context)
{
    struct reader *reader = context;
    redisContext *redis = redisConnectUnix(reader->socket);
    const char *ids[BATCH_MAX];
    int count;

    do {
        redisReply *reply = read_batch(redis, reader, ids, &count);

        for (int i = 0; i < count; i++)
            (void)snprintf(reader->entries[reader->count++].id, sizeof reader->entries->id, "%s",
                           ids[i]);
        freeReplyObject(reply);
    } while (count > 0);
    redisFree(redis);
    return NULL;
}

static void *settle_all(void *context)
{
    const struct reader *reader = context;
    redisContext *redis = redisConnectUnix(reader->socket);
    const char *ids[BATCH_MAX];

    for (size_t at = 0; at < reader->count;) {
        int count = 0;

        while (count < reader->batch && at < reader->count)
            ids[count++] = reader->entries[at++].id;
        settle(redis, ids, count);
    }
    redisFree(redis);
    return NULL;
}

/* Jobs a second by all threads together. */
static double measure(void *(*work)(void *), struct reader *readers, int count, int64_t jobs)
{
    pthread_t threads[THREADS_MAX];
    int64_t begin = clock_mono_us();

    for (int i = 0; i < count; i++)
        (void)pthread_create(&threads[i], NULL, work, &readers[i]);
    for (int i = 0; i < count; i++)
        (void)pthread_join(threads[i], NULL);
    return (double)jobs * 1e6 / (double)(clock_mono_us() - begin);
}

int main(int argc, char **argv)
{
    const char *drop[] = {"DEL", KEY};
    const char *group[] = {"XGROUP", "CREATE", KEY, "till", "0", "MKSTREAM"};
    struct reader readers[THREADS_MAX] = {0};
    redisContext *redis;
    int64_t jobs;
    int64_t begin;
    double added;
    double drained;
    int count;

    if (argc != 5)
        return 2;
    jobs = number(argv[2]);
    count = (int)number(argv[3]);
    if (count > THREADS_MAX || number(argv[4]) > BATCH_MAX)
        return 2;
    redis = redisConnectUnix(argv[1]);
    if (!redis || redis->err)
        return 1;
    for (int i = 0; i < count; i++) {
        readers[i] = (struct reader){.socket = argv[1],
                                     .batch = (int)number(argv[4]),
                                     .entries = mem_array((size_t)jobs, sizeof(struct entry))};
        (void)snprintf(readers[i].name, sizeof readers[i].name, "raw:%d", i);
    }
    call(redis, 2, drop);
    call(redis, 6, group);
    begin = clock_mono_us();
    produce(redis, jobs);
    added = (double)jobs * 1e6 / (double)(clock_mono_us() - begin);
    drained = measure(consume, readers, count, jobs);
    produce(redis, jobs);
    (void)printf("{\"add\": %.0f, \"drain\": %.0f", added, drained);
    (void)printf(", \"read\": %.0f", measure(read_all, readers, count, jobs));
    (void)printf(", \"settle\": %.0f}\n", measure(settle_all, readers, count, jobs));
    for (int i = 0; i < count; i++)
        mem_free(readers[i].entries);
    redisFree(redis);
    return 0;
}
