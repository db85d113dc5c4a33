/* SPDX-License-Identifier: MIT
 *
 * The list of all verbs, in the order of the help page.
 */
#include "cli/cli.h"

#define COMMANDS(X)                                                                                \
    X(migrate)                                                                                     \
    X(seed)                                                                                        \
    X(user_create)                                                                                 \
    X(enqueue)                                                                                     \
    X(task_list)                                                                                   \
    X(task_show)                                                                                   \
    X(task_logs)                                                                                   \
    X(task_secrets)                                                                                \
    X(task_retry)                                                                                  \
    X(task_run)                                                                                    \
    X(task_revoke)                                                                                 \
    X(dead_list)                                                                                   \
    X(dead_retry)                                                                                  \
    X(dead_delete)                                                                                 \
    X(flow_run)                                                                                    \
    X(flow_list)                                                                                   \
    X(flow_show)                                                                                   \
    X(flow_cancel)                                                                                 \
    X(queue_list)                                                                                  \
    X(queue_pause)                                                                                 \
    X(queue_resume)                                                                                \
    X(queue_purge)                                                                                 \
    X(schedule_list)                                                                               \
    X(schedule_history)                                                                            \
    X(schedule_run)                                                                                \
    X(schedule_pause)                                                                              \
    X(schedule_resume)                                                                             \
    X(cron_next)                                                                                   \
    X(task_timeout)                                                                                \
    X(limit_list)                                                                                  \
    X(limit_set)                                                                                   \
    X(limit_delete)                                                                                \
    X(limit_recount)                                                                               \
    X(worker_list)                                                                                 \
    X(dashboard_user)                                                                              \
    X(dashboard_token)                                                                             \
    X(worker_orders)                                                                               \
    X(worker_quiet)                                                                                \
    X(worker_resume)                                                                               \
    X(worker_stop)                                                                                 \
    X(worker_restart)                                                                              \
    X(worker_grow)                                                                                 \
    X(worker_shrink)                                                                               \
    X(worker_scale)                                                                                \
    X(worker_autoscale)                                                                            \
    X(worker_add_consumer)                                                                         \
    X(worker_cancel_consumer)                                                                      \
    X(worker_reset)                                                                                \
    X(bench)                                                                                       \
    X(settings)

#define X(name) extern const struct command command_##name;
COMMANDS(X)
#undef X

const struct command *const commands[] = {
#define X(name) &command_##name,
    COMMANDS(X)
#undef X
        NULL,
};
