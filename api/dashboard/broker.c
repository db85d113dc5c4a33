/* SPDX-License-Identifier: MIT
 *
 * The broker: where Redis is and how it is, beside the queues that stand in it. Of its URL nothing
 * secret is told.
 */
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

static enum err_code make_broker(struct request *req, struct reply *reply, struct err *e)
{
    struct dashboard_thread *thread = thread_of(req);
    AUTO(json_decref) json_t *queues = NULL;
    struct queue_server server = {0};
    bool has_redis = queue_server_info(thread->redis, &server, NULL) == ERR_OK;
    enum err_code rc = queues_gather(thread, &queues, e);

    if (rc)
        return rc;
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
