/* SPDX-License-Identifier: MIT
 *
 * The server of the dashboard: its threads, whom it lets in, its life until a signal. What it shows
 * is read anew for every request, so nothing is lost or wrong after a restart of anything.
 */
#include "api/dashboard/dashboard.h"

#include <signal.h>
#include <string.h>

#include "api/dashboard/shared.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/program.h"

json_t *sum_json(struct jobs_sum sum)
{
    return json_pack("{s:I, s:b}", "count", (json_int_t)sum.count, "is_exact", sum.is_exact);
}

enum { REDIS_TIMEOUT_MS = 1500 };

static void *new_thread(void *data)
{
    struct dashboard *dashboard = data;
    struct dashboard_thread *thread = mem_alloc(sizeof *thread);

    thread->dashboard = dashboard;
    thread->db = db_open(dashboard->conf->database_url, "till-dashboard");
    db_set_options(thread->db, JOBS_VIEW_OPTIONS);
    thread->redis = redis_open(dashboard->conf->redis_url, "till-dashboard", REDIS_TIMEOUT_MS);
    return thread;
}

static void free_thread(void *context)
{
    struct dashboard_thread *thread = context;

    db_close(thread->db);
    redis_close(thread->redis);
    mem_free(thread);
}

/* Whoever gave an order sees what has come of it, and so do all others. */
static void forget_after_order(struct request *req, struct reply *reply)
{
    (void)reply;
    if (strcmp(req->method, "POST") == 0)
        shared_forget(thread_of(req)->dashboard->shared);
}

static void reload(struct dashboard *dashboard)
{
    struct err e = {0};

    if (auth_reload(dashboard->auth, &e))
        log_error("reload_failed", L_ERR(&e));
    else
        log_info("reloaded");
}

int dashboard_serve(struct dashboard *dashboard)
{
    const struct conf *conf = dashboard->conf;
    const struct server_config config = {
        .listen = conf->dashboard_listen,
        .threads = (int)conf->dashboard_threads,
        .routes = dashboard_routes,
        .routes_count = dashboard_routes_count,
        .headers = dashboard_headers,
        .data = dashboard,
        .thread_new = new_thread,
        .thread_free = free_thread,
        .authorise = guard_authorise,
        .admit = guard_admit,
        .finish = forget_after_order,
        .prefix = conf->path_prefix,
        .tells_why = true,
    };
    struct server *server = NULL;
    struct err e = {0};
    int number;

    if (server_start(&config, &server, &e)) {
        log_error("start_failed", L_ERR(&e));
        return EXIT_FAILED;
    }
    do {
        number = program_wait(-1);
        if (number == SIGHUP)
            reload(dashboard);
    } while (number != SIGTERM && number != SIGINT && number != SIGQUIT);
    server_stop(server, number == SIGQUIT ? 0 : conf->shutdown_seconds * US_PER_S);
    return EXIT_DONE;
}
