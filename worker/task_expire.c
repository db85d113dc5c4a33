/* SPDX-License-Identifier: MIT
 *
 * orders.tasks.expire_unpaid_orders(): orders that nobody paid within TILL_ORDER_EXPIRE_MINUTES
 * expire and give their stock back, some hundred a transaction, so that nobody waits long for a
 * product. Never one whose payment is under way: a success that comes later all the same is
 * refunded by the task that learns of it.
 *
 * Each batch commits by itself. Run twice, or by two at once, it expires each order once: the
 * status decides.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/upkeep.h"
#include "worker/task.h"

enum { EXPIRE_BATCH = 200, TIME_KEPT_S = 10 };

static enum task_outcome run_expire(struct task_run *run, struct err *e)
{
    int64_t found = EXPIRE_BATCH;
    int64_t total = 0;
    struct buf result;

    while (found == EXPIRE_BATCH && task_time_left_us(run) > TIME_KEPT_S * US_PER_S) {
        if (orders_expire(run->db, run->conf->order_expire_minutes * 60, EXPIRE_BATCH, &found, e))
            return task_outcome_of(e);
        total += found;
    }
    buf_init(&result, 100);
    buf_addf(&result, "{\"expired\":%" PRId64 "}", total);
    run->result = result.data;
    return TASK_DONE;
}

const struct task task_expire_unpaid = {.name = "orders.tasks.expire_unpaid_orders",
                                        .queue = "default",
                                        .max_attempts = 5,
                                        .soft_limit_s = 120,
                                        .hard_limit_s = 150,
                                        .run = run_expire};
