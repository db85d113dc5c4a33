/* SPDX-License-Identifier: MIT
 *
 * payments.tasks.refund_payment(payment uuid): gives a whole payment back, once, under the refund
 * key that was stored with the payment.
 */
#include <string.h>

#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/mem.h"
#include "worker/gateway.h"
#include "worker/payment_settle.h"

static enum task_outcome settle_refund(struct task_run *run, const struct charge *charge,
                                       struct err *e)
{
    if (task_begin(run, e) || payments_refunded(run->db, &charge->payment, e))
        return task_outcome_of(e);
    run->result = mem_dup("{\"status\":\"refunded\"}");
    return TASK_DONE;
}

static enum task_outcome judge(struct task_run *run, const struct charge *charge,
                               const struct gateway_reply *reply, struct err *e)
{
    bool accepted = reply->answer.status == 200 && reply->answer.is_readable;

    /* A bank takes days over "pending"; the gateway has taken the order all the same. */
    if (accepted && (strcmp(reply->intent_status, "succeeded") == 0 ||
                     strcmp(reply->intent_status, "pending") == 0))
        return settle_refund(run, charge, e);
    if (strcmp(reply->code, "charge_already_refunded") == 0)
        return settle_refund(run, charge, e);
    if (payment_is_stuck(run, reply)) {
        struct gateway_reply found;

        gateway_find_refund(run->gateway, charge, payment_call_timeout_us(run), &found);
        if (found.is_found)
            return settle_refund(run, charge, e);
    }
    run->retry_after_us = reply->retry_after_us;
    if (reply->unsent)
        (void)err_set_detail(e, ERR_UNAVAILABLE, reply->transport,
                             "nothing was sent to the gateway: %s", reply->unsent);
    (void)err_set_detail(e, ERR_UNAVAILABLE,
                         reply->answer.arrived ? reply->message : reply->transport,
                         "the gateway did not refund payment %s (status %ld)", charge->payment.text,
                         reply->answer.status);
    /* A refused refund stays refused; everything else may pass. */
    return reply->answer.status == 400 || reply->answer.status == 404 ? TASK_FAIL : TASK_RETRY;
}

static enum task_outcome run_refund(struct task_run *run, struct err *e)
{
    const char *arg = task_arg_text(run, 0);
    struct gateway_reply reply;
    struct charge charge;
    struct uuid id;

    if (!arg || !uuid_parse(arg, &id)) {
        (void)err_set(e, ERR_INVALID, "refund_payment takes the UUID of a payment");
        return TASK_FAIL;
    }
    if (payments_read(run->db, &id, &charge, e))
        return task_outcome_of(e);
    if (charge.state == PAYMENT_REFUNDED)
        return TASK_DONE;
    if (charge.state != PAYMENT_SUCCEEDED) {
        (void)err_set(e, ERR_INVALID, "payment %s is %s: there is nothing to refund", id.text,
                      payment_state_name(charge.state));
        return TASK_FAIL;
    }
    if (!task_may_call(run, run->gateway_breaker))
        return TASK_SNOOZE;
    CRASH_POINT("refund.before");
    gateway_refund(run->gateway, &charge, task_time_left_us(run) - US_PER_S, &reply);
    CRASH_POINT("refund.after");
    task_called(run->gateway_breaker, "gateway", reply.answer.arrived);
    return judge(run, &charge, &reply, e);
}

const struct task task_refund_payment = {.name = TASK_REFUND_PAYMENT,
                                         .queue = QUEUE_PAYMENTS,
                                         .max_attempts = PAYMENT_MAX_ATTEMPTS,
                                         .soft_limit_s = 40,
                                         .hard_limit_s = 60,
                                         .run = run_refund};
