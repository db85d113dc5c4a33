/* SPDX-License-Identifier: MIT
 *
 * What the files of the dashboard share: its settings, what each request thread owns, and the
 * handlers that routes.c lists.
 */
#ifndef API_DASHBOARD_DASHBOARD_H
#define API_DASHBOARD_DASHBOARD_H

#include <jansson.h>

#include "api/dashboard/auth.h"
#include "api/http.h"
#include "common/conf.h"
#include "common/db.h"
#include "common/jobs_figures.h"
#include "common/redis.h"

/* For the whole program; read-only once the server runs. */
struct dashboard {
    const struct conf *conf;
    struct auth auth;
};

/* Of one request thread. Both connect when first used and again after a loss. */
struct dashboard_thread {
    const struct dashboard *dashboard;
    struct db *db;
    struct redis *redis;
};

static inline struct dashboard_thread *thread_of(const struct request *req) { return req->context; }

/* Serves until TERM, INT or QUIT; gives the exit code. */
int dashboard_serve(struct dashboard *dashboard);

/* {"count": 3, "is_exact": true} */
json_t *sum_json(struct jobs_sum sum);

/* Who is asked: everybody, or those whom auth.c lets in. */
enum scope { SCOPE_PUBLIC, SCOPE_VIEWER };

extern const struct route dashboard_routes[];
extern const size_t dashboard_routes_count;
extern const struct header dashboard_headers[];

/* static.c */
http_handler page_show;
http_handler asset_show;

/* health.c */
http_handler health_flower;
http_handler health_alive;
http_handler health_ready;

/* tasks.c */
http_handler tasks_list;
http_handler task_show;
http_handler task_names_list;
http_handler summary_show;

/* workers.c */
http_handler workers_list;
http_handler worker_show;

/* queues.c */
http_handler queues_list;

/* flower.c */
http_handler flower_tasks;
http_handler flower_task_info;
http_handler flower_task_types;
http_handler flower_workers;
http_handler flower_queues;

/* What workers.c and queues.c have gathered from Redis and PostgreSQL, for flower.c to put into
 * another shape. New values. `redis` in them is false when Redis is away, and only PostgreSQL's
 * figures are there. */
enum err_code workers_gather(struct dashboard_thread *thread, json_t **ret_value,
                             struct err *e) MUST_CHECK;
enum err_code queues_gather(struct dashboard_thread *thread, json_t **ret_value,
                            struct err *e) MUST_CHECK;

#endif
