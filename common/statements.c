/* SPDX-License-Identifier: MIT
 *
 * The list of all store files; see statements.h.
 */
#include "common/statements.h"

#define STORES(X)                                                                                  \
    X(api_session)                                                                                 \
    X(audit)                                                                                       \
    X(catalogue)                                                                                   \
    X(categories)                                                                                  \
    X(confirmation)                                                                                \
    X(dead_groups)                                                                                 \
    X(flows)                                                                                       \
    X(flows_cancel)                                                                                \
    X(flows_insert)                                                                                \
    X(gateway_events)                                                                              \
    X(idempotency)                                                                                 \
    X(job_bounds)                                                                                  \
    X(job_due)                                                                                     \
    X(job_finder)                                                                                  \
    X(job_index)                                                                                   \
    X(job_checkpoints)                                                                             \
    X(job_logs)                                                                                    \
    X(job_minutes)                                                                                 \
    X(job_replays)                                                                                 \
    X(job_segment_new)                                                                             \
    X(job_picks)                                                                                   \
    X(job_segments)                                                                                \
    X(jobs)                                                                                        \
    X(jobs_claim)                                                                                  \
    X(jobs_control)                                                                                \
    X(jobs_desk)                                                                                   \
    X(jobs_detail)                                                                                 \
    X(jobs_figures)                                                                                \
    X(jobs_heal)                                                                                   \
    X(jobs_prune)                                                                                  \
    X(jobs_run)                                                                                    \
    X(jobs_snooze)                                                                                 \
    X(jobs_succeed)                                                                                \
    X(jobs_unique)                                                                                 \
    X(jobs_view)                                                                                   \
    X(leader)                                                                                      \
    X(limit_ghosts)                                                                                \
    X(limits)                                                                                      \
    X(logins)                                                                                      \
    X(migrate)                                                                                     \
    X(order_items)                                                                                 \
    X(orders)                                                                                      \
    X(payments)                                                                                    \
    X(payments_run)                                                                                \
    X(products)                                                                                    \
    X(reviews)                                                                                     \
    X(schedules)                                                                                   \
    X(schedules_view)                                                                              \
    X(sessions)                                                                                    \
    X(shopping_carts)                                                                              \
    X(standby)                                                                                     \
    X(table_growth)                                                                                \
    X(task_secrets)                                                                                \
    X(time_limits)                                                                                 \
    X(trial)                                                                                       \
    X(upkeep)                                                                                      \
    X(users)                                                                                       \
    X(wishlists)                                                                                   \
    X(worker_orders)

#define X(store) extern const struct db_statements db_statements_##store;
STORES(X)
#undef X

const struct db_statements *const db_all_statements[] = {
#define X(store) &db_statements_##store,
    STORES(X)
#undef X
};

const size_t db_all_statements_count = COUNT_OF(db_all_statements);
