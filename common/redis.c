/* SPDX-License-Identifier: MIT
 *
 * The Redis driver over hiredis 0.14; see redis.h. What redisReconnect() forgets (timeout, AUTH,
 * SELECT, name) is why a context is never reused: connecting does everything anew.
 */
#include "common/redis.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <sodium.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/text.h"

enum {
    REDIS_CONNECT_MS = 2000,
    REDIS_BACKOFF_FIRST_MS = 20,
    REDIS_BACKOFF_MAX_MS = 1000,
};

struct redis_address {
    char *path; /* of a unix socket, or NULL */
    char *host;
    int port;
    char *user;
    char *password;
    int64_t db;
};

struct redis {
    redisContext *context; /* NULL when not connected */
    struct redis_address address;
    char *client_name;
    int timeout_ms;
    char error_word[32];
    size_t unanswered; /* commands appended whose answers are not taken */
    int backoff_ms;
    int64_t retry_at_us;
    uint64_t generation;
};

/* ---- arguments ---- */

void redis_add_bytes(struct redis_args *args, const void *data, size_t len)
{
    if (args->count == args->size) {
        args->size = args->size ? args->size * 2 : 16;
        args->words = mem_resize(args->words, args->size * sizeof args->words[0]);
        args->lengths = mem_resize(args->lengths, args->size * sizeof args->lengths[0]);
    }
    args->words[args->count] = data;
    args->lengths[args->count++] = len;
}

void redis_add(struct redis_args *args, const char *word)
{
    redis_add_bytes(args, word, strlen(word));
}

void redis_add_number(struct redis_args *args, int64_t number, char out[24])
{
    (void)snprintf(out, 24, "%" PRId64, number);
    redis_add(args, out);
}

void redis_args_release(struct redis_args *args)
{
    mem_free(args->words);
    mem_free(args->lengths);
    *args = (struct redis_args){0};
}

/* ---- address ---- */

static void address_release(struct redis_address *address)
{
    mem_free(address->path);
    mem_free(address->host);
    mem_wipe_free(address->user);
    mem_wipe_free(address->password);
    *address = (struct redis_address){0};
}

/* What stands before the "@", "user:password" or the password alone; it is written over. */
static void parse_user(char *text, struct redis_address *address)
{
    char *colon = strchr(text, ':');

    address->password = mem_dup(colon ? colon + 1 : text);
    text_percent_decode(address->password);
    if (colon) {
        address->user = mem_dup_n(text, (size_t)(colon - text));
        text_percent_decode(address->user);
    }
}

/* unix:///path, unix://user:password@/path: a path of a socket begins with a slash then. */
static bool parse_unix(const char *rest, struct redis_address *address)
{
    const char *at = *rest == '/' ? NULL : strstr(rest, "@/");
    const char *query;

    if (at) {
        AUTO(mem_wipe_free) char *user = mem_dup_n(rest, (size_t)(at - rest));

        parse_user(user, address);
        rest = at + 1;
    }
    query = strstr(rest, "?db=");
    address->path = query ? mem_dup_n(rest, (size_t)(query - rest)) : mem_dup(rest);
    return *address->path && (!query || text_to_int(query + 4, 0, 1023, &address->db));
}

static bool parse_tcp(const char *rest, struct redis_address *address)
{
    AUTO(mem_free) char *copy = mem_dup(rest);
    char *at = strrchr(copy, '@');
    char *host = at ? at + 1 : copy;
    char *slash = strchr(host, '/');
    char *colon;
    int64_t port = 6379;

    if (slash) {
        *slash = '\0';
        if (slash[1] && !text_to_int(slash + 1, 0, 1023, &address->db))
            return false;
    }
    colon = strrchr(host, ':');
    if (colon) {
        *colon = '\0';
        if (!text_to_int(colon + 1, 1, 65535, &port))
            return false;
    }
    address->port = (int)port;
    address->host = mem_dup(*host ? host : "127.0.0.1");
    if (at) {
        *at = '\0';
        parse_user(copy, address);
    }
    return true;
}

static bool address_parse(const char *url, struct redis_address *address)
{
    if (url && text_starts(url, "unix://"))
        return parse_unix(url + 7, address);
    if (url && text_starts(url, "redis://"))
        return parse_tcp(url + 8, address);
    return false;
}

bool redis_place_of(const char *url, struct redis_place *ret_place)
{
    struct redis_address address = {0};
    bool valid = address_parse(url, &address);

    if (valid) {
        *ret_place = (struct redis_place){.port = address.port, .db = address.db};
        (void)snprintf(ret_place->host, sizeof ret_place->host, "%s",
                       address.path ? address.path : address.host);
    }
    address_release(&address);
    return valid;
}

enum err_code redis_check_url(const char *url, struct err *e)
{
    struct redis_address address = {0};
    bool valid = address_parse(url, &address);

    address_release(&address);
    if (valid)
        return ERR_OK;
    return err_set(e, ERR_INVALID,
                   "REDIS_URL is not redis://[user:password@]host:port/db or "
                   "unix://[user:password@]/path");
}

/* ---- connection ---- */

struct redis *redis_open(const char *url, const char *client_name, int timeout_ms)
{
    struct redis *redis = mem_alloc(sizeof *redis);

    if (!address_parse(url, &redis->address))
        address_release(&redis->address); /* connecting reports it */
    redis->client_name = mem_dup(client_name);
    redis->timeout_ms = timeout_ms;
    redis->retry_at_us = url ? 0 : INT64_MAX;
    return redis;
}

void redis_disconnect(struct redis *redis)
{
    if (redis->context)
        redisFree(redis->context);
    redis->context = NULL;
    redis->unanswered = 0;
}

void redis_close(struct redis *redis)
{
    if (!redis)
        return;
    redis_disconnect(redis);
    address_release(&redis->address);
    mem_free(redis->client_name);
    mem_free(redis);
}

bool redis_is_connected(const struct redis *redis)
{
    return redis->context && !redis->context->err;
}

uint64_t redis_generation(const struct redis *redis) { return redis->generation; }

const char *redis_error_word(const struct redis *redis) { return redis->error_word; }

static enum err_code lost(struct redis *redis, struct err *e)
{
    enum err_code rc =
        err_set_detail(e, ERR_UNAVAILABLE, redis->context ? redis->context->errstr : NULL,
                       "the connection to Redis was lost");

    redis_disconnect(redis);
    return rc;
}

static enum err_code refused(struct redis *redis, const redisReply *reply, struct err *e)
{
    /* States that pass: starting, failed over, out of memory or disk, group gone with the data. */
    static const char *const passing[] = {"LOADING",  "READONLY",   "OOM",        "MISCONF",
                                          "NOGROUP",  "NOREPLICAS", "MASTERDOWN", "BUSY",
                                          "TRYAGAIN", "UNBLOCKED",  "CLUSTERDOWN"};
    size_t len = strcspn(reply->str, " ");
    enum err_code code = ERR_PROTOCOL;

    (void)snprintf(redis->error_word, sizeof redis->error_word, "%.*s", (int)len, reply->str);
    for (size_t i = 0; i < COUNT_OF(passing); i++)
        if (strcmp(redis->error_word, passing[i]) == 0)
            code = ERR_UNAVAILABLE;
    (void)err_set_detail(e, code, reply->str, "Redis refused a command (%s)", redis->error_word);
    if (strcmp(redis->error_word, "READONLY") == 0)
        redis_disconnect(redis); /* a demoted primary: look the new one up */
    return code;
}

static enum err_code hello(struct redis *redis, struct err *e)
{
    char db[24];
    const struct redis_address *address = &redis->address;
    const char *const commands[][3] = {
        {"AUTH", address->user && *address->user ? address->user : address->password,
         address->user && *address->user ? address->password : NULL},
        {"SELECT", db, NULL},
    };
    const bool wanted[] = {address->password != NULL, address->db != 0};
    const char *const name[] = {"CLIENT", "SETNAME", redis->client_name};
    enum err_code rc = ERR_OK;

    (void)snprintf(db, sizeof db, "%d", (int)address->db);
    for (size_t i = 0; i < COUNT_OF(commands) && !rc; i++) {
        struct redis_args args = {0};

        if (!wanted[i])
            continue;
        for (size_t k = 0; k < 3 && commands[i][k]; k++)
            redis_add(&args, commands[i][k]);
        rc = redis_call(redis, &args, NULL, e);
        redis_args_release(&args);
    }
    if (!rc) {
        struct redis_args args = {0};

        for (size_t k = 0; k < COUNT_OF(name); k++)
            redis_add(&args, name[k]);
        rc = redis_call(redis, &args, NULL, e);
        redis_args_release(&args);
    }
    return rc;
}

static void note_failed_connect(struct redis *redis)
{
    redis->backoff_ms = redis->backoff_ms ? redis->backoff_ms * 2 : REDIS_BACKOFF_FIRST_MS;
    if (redis->backoff_ms > REDIS_BACKOFF_MAX_MS)
        redis->backoff_ms = REDIS_BACKOFF_MAX_MS;
    redis->retry_at_us =
        clock_mono_us() + (redis->backoff_ms / 2 +
                           (int64_t)randombytes_uniform((uint32_t)redis->backoff_ms / 2 + 1)) *
                              US_PER_MS;
}

static void tune_socket(struct redis *redis)
{
    struct timeval timeout = {.tv_sec = redis->timeout_ms / 1000,
                              .tv_usec = redis->timeout_ms % 1000 * 1000};
    unsigned user_timeout_ms = 10000;

    (void)redisSetTimeout(redis->context, timeout);
    if (redis->address.path)
        return;
    (void)redisEnableKeepAlive(redis->context);
    (void)setsockopt(redis->context->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
                     sizeof user_timeout_ms);
}

enum err_code redis_connect(struct redis *redis, struct err *e)
{
    struct timeval timeout = {.tv_sec = REDIS_CONNECT_MS / 1000};
    const struct redis_address *address = &redis->address;
    enum err_code rc;

    if (redis_is_connected(redis))
        return ERR_OK;
    redis_disconnect(redis);
    if (clock_mono_us() < redis->retry_at_us)
        return err_set(e, ERR_UNAVAILABLE, "Redis is not reachable");
    if (!address->path && !address->host)
        return err_set(e, ERR_INVALID, "REDIS_URL is missing or not understood");
    redis->context = address->path ? redisConnectUnixWithTimeout(address->path, timeout)
                                   : redisConnectWithTimeout(address->host, address->port, timeout);
    if (!redis->context)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (redis->context->err) {
        rc = err_set_detail(e, ERR_UNAVAILABLE, redis->context->errstr, "Redis is not reachable");
        redis_disconnect(redis);
        note_failed_connect(redis);
        return rc;
    }
    tune_socket(redis);
    rc = hello(redis, e);
    if (rc) {
        redis_disconnect(redis);
        note_failed_connect(redis);
        return rc;
    }
    redis->backoff_ms = 0;
    redis->retry_at_us = 0;
    redis->generation++;
    return ERR_OK;
}

/* ---- commands ---- */

enum err_code redis_append(struct redis *redis, const struct redis_args *args, struct err *e)
{
    /* redis_connect() itself comes here for its HELLO; it has set the context by then. */
    enum err_code rc = redis->context ? ERR_OK : redis_connect(redis, e);

    if (rc)
        return rc;
    if (redisAppendCommandArgv(redis->context, (int)args->count, args->words, args->lengths) !=
        REDIS_OK)
        return lost(redis, e);
    redis->unanswered++;
    return ERR_OK;
}

static enum err_code take_one(struct redis *redis, redisReply **ret_reply, struct err *e)
{
    void *answer = NULL;
    redisReply *reply;
    enum err_code rc = ERR_OK;

    redis->error_word[0] = '\0';
    if (!redis->context)
        return err_set(e, ERR_UNAVAILABLE, "the connection to Redis was lost");
    if (redis->unanswered == 0)
        return err_set(e, ERR_INTERNAL, "no answer of Redis is due");
    if (redisGetReply(redis->context, &answer) != REDIS_OK || !answer)
        return lost(redis, e);
    redis->unanswered--;
    reply = answer;
    if (reply->type == REDIS_REPLY_ERROR)
        rc = refused(redis, reply, e);
    if (!rc && ret_reply)
        *ret_reply = reply;
    else
        freeReplyObject(reply);
    return rc;
}

/* Reads and drops the answers that are still to come: the next command must get its own. */
static void drop_answers(struct redis *redis)
{
    while (redis->unanswered > 0) {
        void *answer = NULL;

        if (redisGetReply(redis->context, &answer) != REDIS_OK || !answer) {
            redis_disconnect(redis);
            return;
        }
        freeReplyObject(answer);
        redis->unanswered--;
    }
}

enum err_code redis_take(struct redis *redis, redisReply **ret_reply, struct err *e)
{
    enum err_code rc = take_one(redis, ret_reply, e);

    if (rc)
        drop_answers(redis);
    return rc;
}

enum err_code redis_call(struct redis *redis, const struct redis_args *args, redisReply **ret_reply,
                         struct err *e)
{
    enum err_code rc = redis_append(redis, args, e);

    return rc ? rc : redis_take(redis, ret_reply, e);
}

enum err_code redis_take_all(struct redis *redis, size_t count, struct err *e)
{
    enum err_code first = ERR_OK;

    for (size_t i = 0; i < count; i++) {
        enum err_code rc = take_one(redis, NULL, e);

        if (rc && !first)
            first = rc;
        if (!redis_is_connected(redis))
            return first;
    }
    return first;
}

enum err_code redis_take_each(struct redis *redis, redisReply **ret_replies, size_t count,
                              struct err *e)
{
    enum err_code first = ERR_OK;
    char word[sizeof redis->error_word] = "";

    for (size_t i = 0; i < count; i++)
        ret_replies[i] = NULL;
    for (size_t i = 0; i < count; i++) {
        enum err_code rc = take_one(redis, &ret_replies[i], e);

        if (rc && !first) {
            first = rc;
            memcpy(word, redis->error_word, sizeof word);
        }
        if (!redis_is_connected(redis))
            break;
    }
    memcpy(redis->error_word, word, sizeof word);
    return first;
}

enum err_code redis_bad_reply(const char *command, struct err *e)
{
    return err_set(e, ERR_PROTOCOL, "Redis answered %s with an unexpected shape", command);
}
