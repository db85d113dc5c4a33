/* SPDX-License-Identifier: MIT
 *
 * The broker: where Redis is and how it is, beside the queues that stand in it. Of its URL nothing
 * secret is told.
 */
#include <string.h>

#include "api/dashboard/dashboard.h"
#include "api/dashboard/shared.h"
#include "api/dashboard/flower.h"
#include "common/job_json.h"
#include "common/queue.h"

json_t *flower_broker_json(const char *redis_url)
{
    struct redis_place place = {0};

    (void)redis_place_of(redis_url, &place);
    return json_pack("{s:s, s:i, s:s, s:o, s:b, s:n, s:n, s:n, s:b, s:{}, s:n, s:s, s:i, s:[]}",
                     "hostname", place.host, "port", place.port, "transport", "redis",
                     "virtual_host", json_sprintf("%lld", (long long)place.db), "ssl", 0, "userid",
                     "uri_prefix", "login_method", "insist", 0, "transport_options", "heartbeat",
                     "failover_strategy", "round-robin", "connect_timeout", 2, "alternates");
}

static json_t *place_json(const char *redis_url)
{
    struct redis_place place = {0};

    (void)redis_place_of(redis_url, &place);
    if (place.port == 0)
        return json_sprintf("unix://%s?db=%lld", place.host, (long long)place.db);
    return json_sprintf("redis://%s:%d/%lld", place.host, place.port, (long long)place.db);
}

static json_t *server_json(const struct queue_server *server)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o}", "version", server->version,
        "mode", server->mode, "role", server->role, "eviction", server->eviction, "uptime_seconds",
        (json_int_t)server->uptime_s, "clients", (json_int_t)server->clients, "blocked_clients",
        (json_int_t)server->blocked_clients, "memory_bytes", (json_int_t)server->memory_bytes,
        "memory_max_bytes", (json_int_t)server->memory_max_bytes, "commands_per_second",
        (json_int_t)server->commands_per_s, "appends", server->appends, "saved_at",
        job_time_json(server->saved_us));
}

/* When the last entry came, of a queue that has none now. */
static json_t *idle_since(struct redis *redis, const json_t *queue)
{
    const char *name = json_string_value(json_object_get(queue, "name"));
    int64_t last_us = 0;

    if (!json_is_integer(json_object_get(queue, "depth")) ||
        json_integer_value(json_object_get(queue, "depth")) > 0 ||
        json_integer_value(json_object_get(queue, "pending")) > 0)
        return json_null();
    for (int i = 0; i < JOB_PRIORITY_COUNT; i++) {
        struct queue_stream stream = queue_stream_of(name, (enum job_priority)i);
        int64_t at_us = 0;

        if (queue_last_delivered(redis, &stream, &at_us, NULL))
            return json_null();
        if (at_us > last_us)
            last_us = at_us;
    }
    return job_time_json(last_us);
}

/* What Flower's page of the broker has beside the figures of a queue. */
static void add_use(struct dashboard_thread *thread, json_t *queues)
{
    for (size_t i = 0; i < json_array_size(queues); i++) {
        json_t *queue = json_array_get(queues, i);

        (void)json_object_set_new(queue, "idle_since", idle_since(thread->redis, queue));
    }
}

static enum err_code make_broker(struct request *req, struct reply *reply, struct err *e)
{
    struct dashboard_thread *thread = thread_of(req);
    AUTO(json_decref) json_t *queues = NULL;
    struct queue_server server = {0};
    bool has_redis = queue_server_info(thread->redis, &server, NULL) == ERR_OK;
    enum err_code rc = queues_gather(thread, NULL, &queues, e);

    if (rc)
        return rc;
    add_use(thread, json_object_get(queues, "queues"));
    return reply_json(reply, 200,
                      json_pack("{s:o, s:b, s:o, s:O}", "url",
                                place_json(thread->dashboard->conf->redis_url), "redis", has_redis,
                                "server", has_redis ? server_json(&server) : json_null(), "queues",
                                json_object_get(queues, "queues")),
                      e);
}

enum err_code broker_show(struct request *req, struct reply *reply, struct err *e)
{
    return shared_get(req, make_broker, reply, e);
}
