/* SPDX-License-Identifier: MIT
 *
 * What becomes of a payment by an answer of the gateway: shared by the tasks that charge, reconcile
 * and refund. Each function is the end of a task's run().
 */
#ifndef WORKER_PAYMENT_SETTLE_H
#define WORKER_PAYMENT_SETTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/payments_run.h"
#include "worker/gateway.h"
#include "worker/task.h"

/* By payment_judge(). */
enum task_outcome payment_settle(struct task_run *run, const struct charge *charge,
                                 const struct gateway_reply *reply, struct err *e);

enum task_outcome payment_settle_decline(struct task_run *run, const struct charge *charge,
                                         const char *code, const char *message, struct err *e);

/* No answer, or one that says to come again. */
enum task_outcome payment_retry_later(struct task_run *run, const struct gateway_reply *reply,
                                      struct err *e);

/* Whether the answer stays the same for as long as the gateway keeps the key, while what was asked
 * for may have been done: a stored 500 that is replayed, and a key that was first used with other
 * parameters (by another version of this program). Then its own books are asked. */
bool payment_is_stuck(const struct task_run *run, const struct gateway_reply *reply);

/* The job's result. `reference` and `code` may be NULL or "". */
void payment_set_result(struct task_run *run, const char *status, const char *reference,
                        const char *code);

/* Time for one call: what the soft limit leaves, less a second to write the outcome. */
int64_t payment_call_timeout_us(const struct task_run *run);

#endif
