/* SPDX-License-Identifier: MIT
 *
 * What the files of the dashboard share: its settings, what each request thread owns, and the
 * handlers that routes.c lists.
 */
#ifndef API_DASHBOARD_DASHBOARD_H
#define API_DASHBOARD_DASHBOARD_H

#include <stdatomic.h>

#include <jansson.h>

#include "api/dashboard/auth.h"
#include "api/http.h"
#include "common/conf.h"
#include "common/db.h"
#include "common/jobs_figures.h"
#include "common/jobs_view.h"
#include "common/logins.h"
#include "common/redis.h"

struct dead_memory;
struct shared;

/* For the whole program; read-only once the server runs. */
struct dashboard {
    const struct conf *conf;
    struct auth *auth;
    struct shared *shared;
    struct dead_memory *dead;
    atomic_int waiters; /* threads that wait for a job to end */
};

/* Of one request thread. Both connect when first used and again after a loss. */
struct dashboard_thread {
    struct dashboard *dashboard;
    struct db *db;
    struct redis *redis;
};

static inline struct dashboard_thread *thread_of(const struct request *req) { return req->context; }

/* Serves until TERM, INT or QUIT; gives the exit code. */
int dashboard_serve(struct dashboard *dashboard);

/* {"count": 3, "is_exact": true} */
json_t *sum_json(struct jobs_sum sum);

/* Which role a route needs; nobody is asked for a public one. */
enum scope {
    SCOPE_PUBLIC = ROLE_NONE,
    SCOPE_VIEWER = ROLE_VIEWER,
    SCOPE_OPERATOR = ROLE_OPERATOR,
    SCOPE_ADMIN = ROLE_ADMIN,
};

/* guard.c */
#define SESSION_COOKIE "__Host-till"
bool guard_authorise(struct request *req, struct reply *reply);
/* A wrong password, written down; one that was not compared is not. */
void guard_note_guess(struct request *req, const struct auth_try *try);
void guard_make_wait(struct reply *reply, const struct auth_try *try); /* 429 */
bool guard_admit(struct request *req, struct reply *reply);
bool request_login_token(const struct request *req, char ret_token[LOGIN_TOKEN_SIZE]);

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
http_handler task_logs;
http_handler task_names_list;
http_handler summary_show;

/* A bound of a filter, RFC 3339; nothing for nothing. */
enum err_code jobs_filter_time(const char *name, const char *text, int64_t *value,
                               struct err *e) MUST_CHECK;

/* workers.c */
http_handler workers_list;
http_handler worker_show;

/* queues.c */
http_handler queues_list;

/* flower.c */
http_handler flower_tasks;
http_handler flower_task_info;
http_handler flower_task_types;
http_handler flower_queues;

/* flower_workers.c */
http_handler flower_workers;

/* flower_pages.c */
http_handler flower_workers_page;
http_handler flower_tasks_table;

/* broker.c */
http_handler broker_show;
json_t *flower_broker_json(const char *redis_url); /* as Celery's stats have it; a new value */

/* flower_apply.c */
http_handler flower_apply;
http_handler flower_async_apply;
http_handler flower_send_task;
http_handler flower_result;

/* enqueue.c */
http_handler task_enqueue_form;

/* flower_control.c */
http_handler flower_revoke;
http_handler flower_abort;
http_handler flower_timeout;
http_handler flower_rate_limit;

/* flower_pool.c */
http_handler flower_shutdown;
http_handler flower_pool_restart;
http_handler flower_pool_grow;
http_handler flower_pool_shrink;
http_handler flower_pool_autoscale;
http_handler flower_add_consumer;
http_handler flower_cancel_consumer;

/* metrics.c */
http_handler metrics_show;

/* task_actions.c */
http_handler task_revoke;
http_handler task_terminate;
http_handler task_retry;
http_handler task_run;
http_handler task_delete;
http_handler tasks_change;
http_handler dead_show;
http_handler dead_change;

/* replay.c */
http_handler task_replay;
enum err_code replay_describe(struct db *db, const struct uuid *id, json_t *out,
                              struct err *e) MUST_CHECK;

/* queue_actions.c */
http_handler queue_pause;
http_handler queue_resume;
http_handler queue_purge;
http_handler worker_order_give;

/* login.c */
http_handler login;
http_handler logout;
http_handler me_show;

/* audit.c */
http_handler audit_show;
http_handler limits_show;
http_handler limit_change;
http_handler time_limit_change;

/* charts.c */
http_handler charts_show;

/* schedules.c */
http_handler schedules_show;
http_handler schedule_show;
http_handler schedule_pause;
http_handler schedule_resume;
http_handler schedule_run;

/* flows.c */
http_handler flows_show;
http_handler flow_show;
http_handler flow_cancel;

/* Whether its worker's last heartbeat names the job among those that it is running: one that was
 * revoked may be at work still. False without Redis. */
bool worker_reports_job(struct dashboard_thread *thread, const char *worker, const char *id);

/* What workers.c and queues.c have gathered from Redis and PostgreSQL, for flower.c to put into
 * another shape. New values. `redis` in them is false when Redis is away, and only PostgreSQL's
 * figures are there. */
enum err_code workers_gather(struct dashboard_thread *thread, json_t **ret_value,
                             struct err *e) MUST_CHECK;
/* With the workers, too, unless that is NULL: how many take work from a queue is its `consumers`,
 * null without Redis. */
enum err_code queues_gather(struct dashboard_thread *thread, json_t **ret_workers,
                            json_t **ret_value, struct err *e) MUST_CHECK;

#endif
