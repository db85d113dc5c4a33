/* SPDX-License-Identifier: MIT
 *
 * What becomes of a payment by an answer of the gateway: shared by the task that charges and the
 * one that reconciles. Each function is the end of a task's run().
 */
#ifndef WORKER_PAYMENT_SETTLE_H
#define WORKER_PAYMENT_SETTLE_H

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

/* The job's result. `reference` and `code` may be NULL or "". */
void payment_set_result(struct task_run *run, const char *status, const char *reference,
                        const char *code);

/* Time for one call: what the soft limit leaves, less a second to write the outcome. */
int64_t payment_call_timeout_us(const struct task_run *run);

#endif
