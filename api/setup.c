/* SPDX-License-Identifier: MIT
 *
 * How till-api uses the server of http.h: its headers, and what each request thread owns.
 */
#include "api/api.h"

#include <poll.h>

#include "api/answers.h"
#include "api/cache.h"
#include "api/cors.h"
#include "api/lookups.h"
#include "api/row_versions.h"
#include "api/metrics.h"
#include "api/replica.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/queue.h"
#include "common/text.h"

static const struct header headers[] = {
    {"Vary", "Accept"},
    {"Cache-Control", "no-store"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "same-origin"},
    {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
    {"Strict-Transport-Security", "max-age=31536000; includeSubDomains"},
    {NULL, NULL},
};

static void *thread_new(void *data)
{
    const struct conf *conf = data;
    struct api *api = mem_alloc(sizeof *api);

    api->conf = conf;
    api->lookup = lookup_new();
    api->row_asker = row_asker_new();
    api->borrower = borrower_new();
    return api;
}

static void thread_free(void *context)
{
    struct api *api = context;

    lookup_free(api->lookup);
    row_asker_free(api->row_asker);
    borrower_free(api->borrower);
    mem_free(api);
}

/* Who reads this answer finds what the request wrote, here and at every other till-api. */
static void finish_write(const struct request *req, const struct reply *reply)
{
    bool is_known =
        req->user.id > 0 || (req->match.route && req->match.route->scope == SCOPE_SIGNED);
    int64_t wait_us;

    leases_note_write();
    wait_us = is_known && reply->status < 400 ? leases_wait_us() : 0;
    if (wait_us > 0) {
        metrics_add(METRIC_LEASE_WAITS);
        (void)poll(NULL, 0, (int)((wait_us + US_PER_MS - 1) / US_PER_MS));
    }
}

static void finish(struct request *req, struct reply *reply)
{
    enum scope scope = req->match.route ? (enum scope)req->match.route->scope : SCOPE_PUBLIC;

    api_give_back(req);
    if (!request_is_safe(req))
        finish_write(req, reply);
    if (scope == SCOPE_USER || scope == SCOPE_CATALOGUE)
        cache_tag(req, reply);
    cors_finish(req, reply);
    metrics_note(req, reply);
}

void api_configure(const struct conf *conf, struct server_config *ret_config)
{
    answers_init((size_t)conf->api_cache_mib * 1024 * 1024);
    leases_init(conf->api_lookup_ms * US_PER_MS);
    lookups_init(conf->database_url);
    row_versions_init(conf->database_url);
    backends_init(conf);
    *ret_config = (struct server_config){
        .listen = conf->api_listen,
        .threads = (int)conf->api_threads,
        .routes = api_routes,
        .routes_count = api_routes_count,
        .headers = headers,
        .data = (void *)(uintptr_t)conf,
        .thread_new = thread_new,
        .thread_free = thread_free,
        .unrouted = guard_unrouted,
        .authorise = guard_authorise,
        .admit = guard_admit,
        .finish = finish,
    };
}

void api_release(void)
{
    lookups_end();
    row_versions_end();
    backends_end();
    answers_end();
}

/* The job is safe in the database; without Redis the scheduler puts it into its stream later. */
void api_push(const struct request *req, const struct job_ready *job)
{
    struct queue_stream stream = queue_stream_of(job->queue, job->priority);
    struct err e = {0};

    if (queue_push(api_redis(req), &stream, &job->id, 1, &e))
        log_debug("push_failed", L_STR("job_id", job->id.text), L_ERR(&e));
}

bool api_path_id(const struct request *req, int64_t *ret_id)
{
    return text_to_int(request_param(req, 0), 1, INT64_MAX, ret_id);
}
