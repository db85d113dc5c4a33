/* SPDX-License-Identifier: MIT
 *
 * What hiredis alone does with one stream: the limit of the queue. Adds N entries in pipelines of
 * 1,000, then reads them in batches by XREADGROUP, XACK and XDEL from T threads, as the worker
 * does, and does nothing with them. Prints jobs a second of both.
 *
 *   raw_redis SOCKET JOBS THREADS BATCH
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "common/clock.h"
#include "common/text.h"

#define KEY "till:{bench}:normal"

enum { PIPELINE = 1000, BATCH_MAX = 1024 };

struct reader {
    const char *socket;
    int batch;
    char name[16];
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

/* Acknowledges and deletes the entries of one answer; false when there were none. */
static int settle(redisContext *redis, const redisReply *read)
{
    const char *ack[BATCH_MAX + 3] = {"XACK", KEY, "till"};
    const char *del[BATCH_MAX + 2] = {"XDEL", KEY};
    const redisReply *entries;
    void *reply;
    int count = 0;

    if (read->type != REDIS_REPLY_ARRAY)
        return 0;
    entries = read->element[0]->element[1];
    for (size_t i = 0; i < entries->elements; i++, count++) {
        ack[3 + count] = entries->element[i]->element[0]->str;
        del[2 + count] = entries->element[i]->element[0]->str;
    }
    (void)redisAppendCommandArgv(redis, 3 + count, ack, NULL);
    (void)redisAppendCommandArgv(redis, 2 + count, del, NULL);
    for (int i = 0; i < 2; i++) {
        if (redisGetReply(redis, &reply) != REDIS_OK)
            exit(1);
        freeReplyObject(reply);
    }
    return count;
}

static void *consume(void *context)
{
    const struct reader *reader = context;
    redisContext *redis = redisConnectUnix(reader->socket);
    char batch[16];
    const char *words[] = {"XREADGROUP", "GROUP",   "till", reader->name, "COUNT",
                           batch,        "STREAMS", KEY,    ">"};
    int count;

    (void)snprintf(batch, sizeof batch, "%d", reader->batch);
    do {
        redisReply *read = redisCommandArgv(redis, 9, words, NULL);

        if (!read || read->type == REDIS_REPLY_ERROR)
            exit(1);
        count = settle(redis, read);
        freeReplyObject(read);
    } while (count > 0);
    redisFree(redis);
    return NULL;
}

int main(int argc, char **argv)
{
    const char *drop[] = {"DEL", KEY};
    const char *group[] = {"XGROUP", "CREATE", KEY, "till", "0", "MKSTREAM"};
    struct reader readers[16] = {0};
    pthread_t threads[16];
    redisContext *redis;
    int64_t jobs;
    int64_t begin;
    int64_t added;
    int count;

    if (argc != 5)
        return 2;
    jobs = number(argv[2]);
    count = (int)number(argv[3]);
    if (count > 16 || number(argv[4]) > BATCH_MAX)
        return 2;
    redis = redisConnectUnix(argv[1]);
    if (!redis || redis->err)
        return 1;
    call(redis, 2, drop);
    call(redis, 6, group);
    begin = clock_mono_us();
    produce(redis, jobs);
    added = clock_mono_us();
    for (int i = 0; i < count; i++) {
        readers[i] = (struct reader){.socket = argv[1], .batch = (int)number(argv[4])};
        (void)snprintf(readers[i].name, sizeof readers[i].name, "raw:%d", i);
        (void)pthread_create(&threads[i], NULL, consume, &readers[i]);
    }
    for (int i = 0; i < count; i++)
        (void)pthread_join(threads[i], NULL);
    (void)printf("{\"add\": %.0f, \"drain\": %.0f}\n", (double)jobs * 1e6 / (double)(added - begin),
                 (double)jobs * 1e6 / (double)(clock_mono_us() - added));
    redisFree(redis);
    return 0;
}
