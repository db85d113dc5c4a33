/* SPDX-License-Identifier: MIT
 *
 * payments.tasks.reconcile_payments(): finds payments that have had no answer for
 * TILL_RECONCILE_MINUTES and no job that works on them, and adds a job for each:
 *
 * payments.tasks.reconcile_payment(payment uuid): asks the gateway what it knows. A charge that was
 * made or declined settles the payment as if its own job had heard of it. One that the gateway does
 * not know is sent again by that job, under the stored key and only while the gateway keeps it;
 * past that (20 h, and an hour for its search to catch up) it has failed. Nothing here posts
 * anything.
 */
#include <inttypes.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/upkeep.h"
#include "worker/payment_settle.h"

enum { STUCK_MAX = 500 };

static enum task_outcome run_reconcile_all(struct task_run *run, struct err *e)
{
    int64_t count = 0;
    struct buf result;

    if (task_begin(run, e) ||
        payments_reconcile_stuck(run->db, run->conf->reconcile_minutes * 60, STUCK_MAX, &count, e))
        return task_outcome_of(e);
    buf_init(&result, 100);
    buf_addf(&result, "{\"payments\":%" PRId64 "}", count);
    run->result = result.data;
    return TASK_DONE;
}

const struct task task_reconcile_payments = {.name = "payments.tasks.reconcile_payments",
                                             .queue = QUEUE_PAYMENTS,
                                             .max_attempts = 5,
                                             .soft_limit_s = 40,
                                             .hard_limit_s = 60,
                                             .run = run_reconcile_all};

static enum task_outcome send_again(struct task_run *run, const struct charge *charge,
                                    struct err *e)
{
    char args[48];
    struct job_new job = {.task = TASK_PROCESS_PAYMENT,
                          .queue = QUEUE_PAYMENTS,
                          .priority = JOB_PRIORITY_NORMAL,
                          .args = args,
                          .max_attempts = PAYMENT_MAX_ATTEMPTS};

    if (!text_format(args, sizeof args, "[\"%s\"]", charge->payment.text)) {
        (void)err_set(e, ERR_INTERNAL, "the id of a payment is too long");
        return TASK_FAIL;
    }
    if (task_begin(run, e) || task_enqueue(run, &job, e))
        return task_outcome_of(e);
    payment_set_result(run, "sent_again", NULL, NULL);
    return TASK_DONE;
}

/* A charge that is not ours was told of when it was found first. */
static enum task_outcome judge(struct task_run *run, const struct charge *charge,
                               const struct gateway_reply *reply, struct err *e)
{
    enum gateway_outcome outcome = payment_judge(&reply->answer);

    if (outcome == GATEWAY_RETRY ||
        (outcome == GATEWAY_MISMATCH && charge->state == PAYMENT_UNKNOWN)) {
        log_warn("payment_unsettled", L_STR("payment", charge->payment.text),
                 L_STR("gateway_reference", reply->reference),
                 L_STR("intent_status", reply->intent_status));
        payment_set_result(run, payment_state_name(charge->state), reply->reference,
                           outcome == GATEWAY_MISMATCH ? "mismatch" : reply->intent_status);
        return TASK_DONE;
    }
    return payment_settle(run, charge, reply, e);
}

static enum task_outcome reconcile(struct task_run *run, const struct charge *charge,
                                   const struct reconcile_history *history, struct err *e)
{
    struct gateway_reply reply = {0};

    if (charge->sent_age_us >= 0 && !history->has_open_job) {
        if (!task_may_call(run, run->gateway_breaker))
            return TASK_SNOOZE;
        gateway_find(run->gateway, charge, payment_call_timeout_us(run), &reply);
        task_called(run->gateway_breaker, "gateway", reply.answer.arrived);
        if (!reply.answer.arrived || reply.answer.status != 200 || !reply.answer.is_readable)
            return payment_retry_later(run, &reply, e);
    }
    switch (reconcile_decide(charge->state, charge->sent_age_us, reply.is_found, history)) {
    case RECONCILE_JUDGE:
        return judge(run, charge, &reply, e);
    case RECONCILE_SEND_AGAIN:
        return send_again(run, charge, e);
    case RECONCILE_FAIL:
        return payment_settle_decline(run, charge, "never_charged",
                                      "the gateway has no charge for this payment", e);
    case RECONCILE_LEAVE:
        break;
    }
    payment_set_result(run, payment_state_name(charge->state), charge->reference, NULL);
    return TASK_DONE;
}

static enum task_outcome run_reconcile(struct task_run *run, struct err *e)
{
    const char *arg = task_arg_text(run, 0);
    struct reconcile_history history;
    struct charge charge;
    struct uuid id;

    if (!arg || !uuid_parse(arg, &id)) {
        (void)err_set(e, ERR_INVALID, "reconcile_payment takes the UUID of a payment");
        return TASK_FAIL;
    }
    if (payments_read(run->db, &id, &charge, e) || payments_read_history(run->db, &id, &history, e))
        return task_outcome_of(e);
    if (charge.state == PAYMENT_SUCCEEDED || charge.state == PAYMENT_FAILED ||
        charge.state == PAYMENT_REFUNDED) {
        payment_set_result(run, payment_state_name(charge.state), charge.reference, NULL);
        return TASK_DONE;
    }
    return reconcile(run, &charge, &history, e);
}

const struct task task_reconcile_payment = {.name = TASK_RECONCILE_PAYMENT,
                                            .queue = QUEUE_PAYMENTS,
                                            .max_attempts = 8,
                                            .soft_limit_s = 40,
                                            .hard_limit_s = 60,
                                            .run = run_reconcile};
