/* SPDX-License-Identifier: MIT
 *
 * Every path of the dashboard, the role that each needs, and the headers of every answer. A GET
 * changes nothing.
 */
#include "api/dashboard/dashboard.h"
#include "common/auto.h"

const struct route dashboard_routes[] = {
    /* Pages: one document, which its scripts fill. */
    {"GET", "/", SCOPE_VIEWER, flower_workers_page},
    {"GET", "/tasks", SCOPE_VIEWER, page_show},
    {"GET", "/enqueue", SCOPE_VIEWER, page_show},
    {"GET", "/task/<uuid>", SCOPE_VIEWER, page_show},
    {"GET", "/workers", SCOPE_VIEWER, flower_workers_page},
    {"GET", "/worker/<name>", SCOPE_VIEWER, page_show},
    {"GET", "/queues", SCOPE_VIEWER, page_show},
    {"GET", "/broker", SCOPE_VIEWER, page_show},
    {"GET", "/dead", SCOPE_VIEWER, page_show},
    {"GET", "/limits", SCOPE_VIEWER, page_show},
    {"GET", "/audit", SCOPE_VIEWER, page_show},
    {"GET", "/charts", SCOPE_VIEWER, page_show},
    {"GET", "/schedules", SCOPE_VIEWER, page_show},
    {"GET", "/schedule/<name>", SCOPE_VIEWER, page_show},
    {"GET", "/flows", SCOPE_VIEWER, page_show},
    {"GET", "/flow/<uuid>", SCOPE_VIEWER, page_show},
    {"GET", "/static/<file>", SCOPE_PUBLIC, asset_show},

    /* What the pages read. */
    {"GET", "/api/v1/summary", SCOPE_VIEWER, summary_show},
    {"GET", "/api/v1/tasks", SCOPE_VIEWER, tasks_list},
    {"GET", "/api/v1/tasks/<uuid>", SCOPE_VIEWER, task_show},
    {"GET", "/api/v1/task-names", SCOPE_VIEWER, task_names_list},
    {"GET", "/api/v1/workers", SCOPE_VIEWER, workers_list},
    {"GET", "/api/v1/workers/<name>", SCOPE_VIEWER, worker_show},
    {"GET", "/api/v1/queues", SCOPE_VIEWER, queues_list},
    {"GET", "/api/v1/broker", SCOPE_VIEWER, broker_show},
    {"GET", "/api/v1/dead", SCOPE_VIEWER, dead_show},
    {"GET", "/api/v1/charts", SCOPE_VIEWER, charts_show},
    {"GET", "/api/v1/tasks/<uuid>/logs", SCOPE_VIEWER, task_logs},
    {"GET", "/api/v1/schedules", SCOPE_VIEWER, schedules_show},
    {"GET", "/api/v1/schedules/<name>", SCOPE_VIEWER, schedule_show},
    {"GET", "/api/v1/flows", SCOPE_VIEWER, flows_show},
    {"GET", "/api/v1/flows/<uuid>", SCOPE_VIEWER, flow_show},
    {"GET", "/api/v1/limits", SCOPE_VIEWER, limits_show},
    {"GET", "/api/v1/audit", SCOPE_VIEWER, audit_show},

    /* What the pages do. */
    {"POST", "/api/v1/tasks", SCOPE_OPERATOR, tasks_change},
    {"POST", "/api/v1/tasks/<uuid>/revoke", SCOPE_OPERATOR, task_revoke},
    {"POST", "/api/v1/tasks/<uuid>/terminate", SCOPE_OPERATOR, task_terminate},
    {"POST", "/api/v1/tasks/<uuid>/retry", SCOPE_OPERATOR, task_retry},
    {"POST", "/api/v1/tasks/<uuid>/run", SCOPE_OPERATOR, task_run},
    {"POST", "/api/v1/tasks/<uuid>/replay", SCOPE_OPERATOR, task_replay},
    {"POST", "/api/v1/tasks/<uuid>/delete", SCOPE_ADMIN, task_delete},
    {"POST", "/api/v1/enqueue/<name>", SCOPE_OPERATOR, task_enqueue_form},
    {"POST", "/api/v1/dead", SCOPE_OPERATOR, dead_change},
    {"POST", "/api/v1/queues/<name>/pause", SCOPE_OPERATOR, queue_pause},
    {"POST", "/api/v1/queues/<name>/resume", SCOPE_OPERATOR, queue_resume},
    {"POST", "/api/v1/queues/<name>/purge", SCOPE_ADMIN, queue_purge},
    {"POST", "/api/v1/schedules/<name>/pause", SCOPE_OPERATOR, schedule_pause},
    {"POST", "/api/v1/schedules/<name>/resume", SCOPE_OPERATOR, schedule_resume},
    {"POST", "/api/v1/schedules/<name>/run", SCOPE_OPERATOR, schedule_run},
    {"POST", "/api/v1/flows/<uuid>/cancel", SCOPE_OPERATOR, flow_cancel},
    {"POST", "/api/v1/workers/<name>", SCOPE_ADMIN, worker_order_give},
    {"POST", "/api/v1/limits", SCOPE_ADMIN, limit_change},
    {"POST", "/api/v1/time-limits", SCOPE_ADMIN, time_limit_change},

    /* Who one is. */
    {"GET", "/login", SCOPE_PUBLIC, page_show},
    {"GET", "/api/v1/me", SCOPE_VIEWER, me_show},
    {"POST", "/api/v1/login", SCOPE_PUBLIC, login},
    {"POST", "/api/v1/logout", SCOPE_PUBLIC, logout},

    /* Flower's paths and shapes. */
    {"GET", "/api/tasks", SCOPE_VIEWER, flower_tasks},
    {"GET", "/tasks/datatable", SCOPE_VIEWER, flower_tasks_table},
    {"POST", "/tasks/datatable", SCOPE_VIEWER, flower_tasks_table},
    {"GET", "/api/task/info/<uuid>", SCOPE_VIEWER, flower_task_info},
    {"GET", "/api/task/types", SCOPE_VIEWER, flower_task_types},
    {"GET", "/api/workers", SCOPE_VIEWER, flower_workers},
    {"GET", "/api/queues/length", SCOPE_VIEWER, flower_queues},
    {"POST", "/api/task/apply/<name>", SCOPE_OPERATOR, flower_apply},
    {"POST", "/api/task/async-apply/<name>", SCOPE_OPERATOR, flower_async_apply},
    {"POST", "/api/task/send-task/<name>", SCOPE_OPERATOR, flower_send_task},
    {"GET", "/api/task/result/<id>", SCOPE_VIEWER, flower_result},
    {"POST", "/api/task/revoke/<id>", SCOPE_OPERATOR, flower_revoke},
    {"POST", "/api/task/abort/<id>", SCOPE_OPERATOR, flower_abort},
    {"POST", "/api/task/rate-limit/<name>", SCOPE_ADMIN, flower_rate_limit},
    {"POST", "/api/task/timeout/<name>", SCOPE_ADMIN, flower_timeout},
    {"POST", "/api/worker/shutdown/<worker>", SCOPE_ADMIN, flower_shutdown},
    {"POST", "/api/worker/pool/restart/<worker>", SCOPE_ADMIN, flower_pool_restart},
    {"POST", "/api/worker/pool/grow/<worker>", SCOPE_ADMIN, flower_pool_grow},
    {"POST", "/api/worker/pool/shrink/<worker>", SCOPE_ADMIN, flower_pool_shrink},
    {"POST", "/api/worker/pool/autoscale/<worker>", SCOPE_ADMIN, flower_pool_autoscale},
    {"POST", "/api/worker/queue/add-consumer/<worker>", SCOPE_ADMIN, flower_add_consumer},
    {"POST", "/api/worker/queue/cancel-consumer/<worker>", SCOPE_ADMIN, flower_cancel_consumer},
    {"GET", "/metrics", SCOPE_PUBLIC, metrics_show},
    {"GET", "/healthcheck", SCOPE_PUBLIC, health_flower},

    {"GET", "/healthz", SCOPE_PUBLIC, health_alive},
    {"GET", "/readyz", SCOPE_PUBLIC, health_ready},
};

const size_t dashboard_routes_count = COUNT_OF(dashboard_routes);

const struct header dashboard_headers[] = {
    {"Cache-Control", "no-store"},
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
     " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Referrer-Policy", "no-referrer"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {0},
};
