/* SPDX-License-Identifier: MIT
 *
 * Names and heartbeats of worker processes; see queue.h. A name is a lease: the key holds the token
 * of its owner and expires unless the owner's heartbeat renews it. So a replaced process gets the
 * name of its predecessor at once (same token), and with it the entries that this one left, while
 * two supervisors on a host never share a name.
 *
 *   till:worker:NAME         token, expires with the lease
 *   till:worker:NAME:report  JSON of the last heartbeat, kept for a day
 *   till:workers             sorted set: name, wall time (ms) of its last heartbeat
 *   till:workers:probe       whether Redis takes heartbeats at all
 */
#include "common/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"

#define WORKERS_KEY "till:workers"

enum { REPORT_SECONDS = 24 * 3600, NAMES_PER_HOST = 1024, KEY_SIZE = QUEUE_WORKER_NAME_SIZE + 32 };
enum { NAME_TRIES = 2 };

static void name_key(const char *name, const char *suffix, char out[KEY_SIZE])
{
    (void)snprintf(out, KEY_SIZE, "till:worker:%s%s", name, suffix);
}

static enum err_code append_words(struct redis *redis, const char *const *words, size_t count,
                                  struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};

    for (size_t i = 0; i < count; i++)
        redis_add(&args, words[i]);
    return redis_append(redis, &args, e);
}

static bool is_wrong_type(const struct redis *redis)
{
    return strcmp(redis_error_word(redis), "WRONGTYPE") == 0;
}

static enum err_code free_name(struct redis *redis, const char *key, struct err *e)
{
    const char *const words[] = {"DEL", key};
    enum err_code rc = append_words(redis, words, COUNT_OF(words), e);

    return rc ? rc : redis_take_all(redis, 1, e);
}

/* The token that holds `name`, owned, or NULL when the name is free. What is no token, a hand or
 * another program has put there: it goes, or whoever holds the name would look dead, and its long
 * jobs lose their attempts. */
static enum err_code read_holder(struct redis *redis, const char *name, char **ret_token,
                                 struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    char key[KEY_SIZE];
    enum err_code rc;

    name_key(name, "", key);
    redis_add(&args, "GET");
    redis_add(&args, key);
    rc = redis_call(redis, &args, &reply, e);
    if (!rc)
        *ret_token = redis_is_text(reply) ? mem_dup_n(reply->str, (size_t)reply->len) : NULL;
    if (!rc || !is_wrong_type(redis))
        return rc;
    if (e)
        err_clear(e);
    return free_name(redis, key, e);
}

static enum err_code set_name(struct redis *redis, const char *name, const char *token,
                              int64_t lease_ms, bool *ret_taken, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    char key[KEY_SIZE];
    char lease[24];
    enum err_code rc;

    name_key(name, "", key);
    redis_add(&args, "SET");
    redis_add(&args, key);
    redis_add(&args, token);
    redis_add(&args, "NX");
    redis_add(&args, "PX");
    redis_add_number(&args, lease_ms, lease);
    rc = redis_call(redis, &args, &reply, e);
    if (!rc)
        *ret_taken = redis_is_text(reply);
    return rc;
}

static enum err_code take_name(struct redis *redis, const char *name, const char *token,
                               int64_t lease_ms, bool *ret_taken, struct err *e)
{
    for (int i = 0; i < NAME_TRIES; i++) {
        AUTO(mem_free) char *holder = NULL;
        enum err_code rc = set_name(redis, name, token, lease_ms, ret_taken, e);

        if (rc || *ret_taken)
            return rc;
        rc = read_holder(redis, name, &holder, e);
        if (rc)
            return rc;
        if (holder) {
            *ret_taken = strcmp(holder, token) == 0;
            return ERR_OK;
        }
    }
    return ERR_OK;
}

enum err_code queue_worker_register(struct redis *redis, const char *host, const char *token,
                                    int64_t lease_ms, char io_name[QUEUE_WORKER_NAME_SIZE],
                                    struct err *e)
{
    bool mine = false;

    if (*io_name) {
        enum err_code rc = take_name(redis, io_name, token, lease_ms, &mine, e);

        if (rc || mine)
            return rc;
    }
    for (int i = 0; i < NAMES_PER_HOST; i++) {
        char name[QUEUE_WORKER_NAME_SIZE];
        bool taken = false;
        enum err_code rc;

        (void)snprintf(name, sizeof name, "%.80s:%d", host, i);
        rc = take_name(redis, name, token, lease_ms, &taken, e);
        if (rc)
            return rc;
        if (taken) {
            memcpy(io_name, name, sizeof name);
            return ERR_OK;
        }
    }
    return err_set(e, ERR_UNAVAILABLE, "all %d worker names of host \"%.60s\" are taken",
                   NAMES_PER_HOST, host);
}

/* What is said of the list of workers when its key holds something else. */
static enum err_code explain_list(const struct redis *redis, enum err_code rc, struct err *e)
{
    if (!rc || !is_wrong_type(redis))
        return rc;
    if (e)
        err_clear(e);
    return err_set(e, rc,
                   "\"" WORKERS_KEY "\" in Redis is no sorted set (WRONGTYPE): rename or delete "
                   "it, and workers list themselves again");
}

enum err_code queue_worker_heartbeat(struct redis *redis, const char *name, const char *token,
                                     int64_t lease_ms, const char *report, struct err *e)
{
    AUTO(mem_free) char *holder = NULL;
    char key[KEY_SIZE];
    char report_key[KEY_SIZE];
    char lease[24];
    char now[24];
    char report_seconds[24];
    const char *const hold[] = {"SET", key, token, "PX", lease};
    const char *const publish[] = {"SET", report_key, report, "EX", report_seconds};
    const char *const list[] = {"ZADD", WORKERS_KEY, now, name};
    enum err_code rc = read_holder(redis, name, &holder, e);

    if (rc)
        return rc;
    if (holder && strcmp(holder, token) != 0)
        return err_set(e, ERR_CONFLICT, "the worker name \"%s\" is another's now", name);
    name_key(name, "", key);
    name_key(name, ":report", report_key);
    (void)snprintf(lease, sizeof lease, "%lld", (long long)lease_ms);
    (void)snprintf(now, sizeof now, "%lld", (long long)(clock_wall_us() / US_PER_MS));
    (void)snprintf(report_seconds, sizeof report_seconds, "%d", REPORT_SECONDS);
    rc = append_words(redis, hold, COUNT_OF(hold), e);
    if (!rc)
        rc = append_words(redis, publish, COUNT_OF(publish), e);
    if (!rc)
        rc = append_words(redis, list, COUNT_OF(list), e);
    if (!rc)
        rc = redis_take_all(redis, 3, e); /* of these only ZADD looks at the type */
    return explain_list(redis, rc, e);
}

enum err_code queue_worker_leave(struct redis *redis, const char *name, const char *token,
                                 struct err *e)
{
    AUTO(mem_free) char *holder = NULL;
    char key[KEY_SIZE];
    enum err_code rc = read_holder(redis, name, &holder, e);

    if (rc || !holder || strcmp(holder, token) != 0)
        return rc;
    name_key(name, "", key);
    return free_name(redis, key, e);
}

/* ---- listing ---- */

void queue_workers_release(struct queue_workers *workers)
{
    for (size_t i = 0; i < workers->count; i++)
        mem_free(workers->items[i].report);
    mem_free(workers->items);
    *workers = (struct queue_workers){0};
}

static enum err_code read_names(struct redis *redis, redisReply **ret_names, struct err *e)
{
    const char *const list[] = {"ZRANGE", WORKERS_KEY, "0", "-1"};
    enum err_code rc = append_words(redis, list, COUNT_OF(list), e);

    if (!rc)
        rc = explain_list(redis, redis_take(redis, ret_names, e), e);
    if (!rc && !redis_is_array(*ret_names))
        rc = redis_bad_reply("ZRANGE", e);
    return rc;
}

static enum err_code read_worker(struct redis *redis, const char *name, struct queue_worker *worker,
                                 struct err *e)
{
    AUTO(freeReplyObject) redisReply *alive = NULL;
    AUTO(freeReplyObject) redisReply *report = NULL;
    char key[KEY_SIZE];
    char report_key[KEY_SIZE];
    const char *const exists[] = {"EXISTS", key};
    const char *const get[] = {"GET", report_key};
    enum err_code rc;

    *worker = (struct queue_worker){0};
    (void)snprintf(worker->name, sizeof worker->name, "%s", name);
    name_key(worker->name, "", key);
    name_key(worker->name, ":report", report_key);
    rc = append_words(redis, exists, COUNT_OF(exists), e);
    if (!rc)
        rc = append_words(redis, get, COUNT_OF(get), e);
    if (!rc)
        rc = redis_take(redis, &alive, e);
    if (rc)
        return rc;
    rc = redis_take(redis, &report, e);
    if (rc && is_wrong_type(redis)) {
        rc = ERR_OK; /* a key that somebody else has put there: no report */
        if (e)
            err_clear(e);
    }
    if (rc)
        return rc;
    worker->is_alive = alive->type == REDIS_REPLY_INTEGER && alive->integer == 1;
    worker->report = redis_is_text(report) ? mem_dup_n(report->str, (size_t)report->len) : NULL;
    return ERR_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct queue_worker *)a)->name, ((const struct queue_worker *)b)->name);
}

/* Whose last report has expired, by Redis' own clock: nobody else's may decide this, since one that
 * is a day ahead would forget everybody. One that cannot be forgotten now is the next time. */
static bool forget_if_gone(struct redis *redis, const struct queue_worker *worker)
{
    const char *const forget[] = {"ZREM", WORKERS_KEY, worker->name};

    if (worker->is_alive || worker->report)
        return false;
    return append_words(redis, forget, COUNT_OF(forget), NULL) == ERR_OK &&
           redis_take_all(redis, 1, NULL) == ERR_OK;
}

enum err_code queue_list_workers(struct redis *redis, struct queue_workers *ret_workers,
                                 struct err *e)
{
    AUTO_VALUE(queue_workers_release) struct queue_workers workers = {0};
    AUTO(freeReplyObject) redisReply *names = NULL;
    enum err_code rc = read_names(redis, &names, e);

    if (rc)
        return rc;
    workers.items = mem_array(names->elements, sizeof workers.items[0]);
    for (size_t i = 0; i < names->elements; i++) {
        struct queue_worker *worker = &workers.items[workers.count];

        if (!redis_is_text(names->element[i]))
            continue;
        rc = read_worker(redis, names->element[i]->str, worker, e);
        if (rc)
            return rc;
        workers.count += !forget_if_gone(redis, worker);
    }
    qsort(workers.items, workers.count, sizeof workers.items[0], compare_names);
    *ret_workers = workers;
    workers = (struct queue_workers){0};
    return ERR_OK;
}

enum err_code queue_find_workers(struct redis *redis, char *const *names, size_t count,
                                 struct queue_workers *ret_workers, struct err *e)
{
    AUTO_VALUE(queue_workers_release) struct queue_workers workers = {0};

    workers.items = mem_array(count, sizeof workers.items[0]);
    for (size_t i = 0; i < count; i++) {
        enum err_code rc = read_worker(redis, names[i], &workers.items[i], e);

        if (rc)
            return rc;
        workers.count++;
    }
    *ret_workers = workers;
    workers = (struct queue_workers){0};
    return ERR_OK;
}

enum err_code queue_check_writable(struct redis *redis, struct err *e)
{
    static const char key[] = WORKERS_KEY ":probe";
    const char *const probe[] = {"SET", key, "1", "PX", "1000"};
    enum err_code rc = append_words(redis, probe, COUNT_OF(probe), e);

    return rc ? rc : redis_take_all(redis, 1, e);
}
