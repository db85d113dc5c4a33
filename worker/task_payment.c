/* SPDX-License-Identifier: MIT
 *
 * payments.tasks.process_payment(payment uuid): charges the gateway and writes what it said.
 *
 * The order of steps is what makes one charge of any number of attempts: the key is stored with the
 * payment before its first call; the call stands outside any transaction; then one transaction
 * takes the payment, the order, the e-mail job and the end of this job. Killed anywhere between,
 * the next attempt sends the same key and gets the same charge. Once the gateway may have forgotten
 * the key (20 h) the payment is looked up, never sent again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/gateway.h"
#include "worker/task.h"

enum { CALL_LIMIT_S = 30 };

static void set_result(struct task_run *run, const char *status, const char *reference,
                       const char *code)
{
    struct buf result;

    buf_init(&result, 1024);
    buf_add_str(&result, "{\"status\":");
    buf_add_json(&result, status);
    if (reference && *reference) {
        buf_add_str(&result, ",\"gateway_reference\":");
        buf_add_json(&result, reference);
    }
    if (code && *code) {
        buf_add_str(&result, ",\"code\":");
        buf_add_json(&result, code);
    }
    buf_add_char(&result, '}');
    mem_free(run->result);
    run->result = result.data;
}

static enum err_code add_confirmation(struct task_run *run, const struct charge *charge,
                                      struct err *e)
{
    char args[32];
    struct job_new job = {.task = TASK_SEND_CONFIRMATION,
                          .queue = QUEUE_MAIL,
                          .priority = JOB_PRIORITY_NORMAL,
                          .args = args,
                          .max_attempts = CONFIRMATION_MAX_ATTEMPTS};

    (void)snprintf(args, sizeof args, "[%" PRId64 "]", charge->order_id);
    return task_enqueue(run, &job, e);
}

static enum err_code add_refund(struct task_run *run, const struct charge *charge, struct err *e)
{
    char args[48];
    struct job_new job = {.task = TASK_REFUND_PAYMENT,
                          .queue = QUEUE_PAYMENTS,
                          .priority = JOB_PRIORITY_NORMAL,
                          .args = args,
                          .max_attempts = PAYMENT_MAX_ATTEMPTS};

    (void)snprintf(args, sizeof args, "[\"%s\"]", charge->payment.text);
    return task_enqueue(run, &job, e);
}

static enum task_outcome settle_success(struct task_run *run, const struct charge *charge,
                                        const char *reference, struct err *e)
{
    enum order_effect effect = ORDER_EFFECT_NONE;
    enum err_code rc = task_begin(run, e);

    if (!rc)
        rc = payments_succeed(run->db, &charge->payment, reference, &effect, e);
    if (!rc && effect == ORDER_EFFECT_PAID)
        rc = add_confirmation(run, charge, e);
    if (!rc && effect == ORDER_EFFECT_CLOSED)
        rc = add_refund(run, charge, e);
    if (rc)
        return task_outcome_of(e);
    set_result(run, "succeeded", reference, NULL);
    return TASK_DONE;
}

static enum task_outcome settle_decline(struct task_run *run, const struct charge *charge,
                                        const char *code, const char *message, struct err *e)
{
    enum err_code rc = task_begin(run, e);

    if (!rc)
        rc = payments_decline(run->db, &charge->payment, code, message, e);
    if (rc)
        return task_outcome_of(e);
    set_result(run, "failed", NULL, code);
    return TASK_DONE;
}

/* Nothing was charged, but our own request was wrong: the payment ends now, so that the customer
 * can try again, and the job goes to the dead set, so that somebody looks. */
static enum task_outcome settle_refused(struct task_run *run, const struct charge *charge,
                                        const struct gateway_reply *reply, struct err *e)
{
    enum err_code rc =
        payments_decline(run->db, &charge->payment,
                         *reply->code ? reply->code : "refused_by_gateway", reply->message, e);

    if (rc)
        return task_outcome_of(e);
    (void)err_set_detail(e, ERR_PROTOCOL, reply->message,
                         "the gateway refused our request with status %ld (%s)",
                         reply->answer.status, reply->request_id);
    return TASK_FAIL;
}

static enum task_outcome settle_mismatch(struct task_run *run, const struct charge *charge,
                                         const struct gateway_reply *reply, struct err *e)
{
    enum err_code rc = payments_mark_unknown(run->db, &charge->payment, e);

    if (rc)
        return task_outcome_of(e);
    (void)err_set(e, ERR_PROTOCOL,
                  "the gateway charged something else than payment %s asked for; see %s",
                  charge->payment.text, reply->reference);
    return TASK_FAIL;
}

static enum task_outcome retry_later(struct task_run *run, const struct gateway_reply *reply,
                                     struct err *e)
{
    run->retry_after_us = reply->retry_after_us;
    if (!reply->answer.arrived)
        (void)err_set_detail(e, ERR_TIMEOUT, reply->transport,
                             "the gateway gave no answer; the charge may have been made");
    else
        (void)err_set_detail(e, ERR_UNAVAILABLE, reply->message,
                             "the gateway answered with status %ld%s%s%s", reply->answer.status,
                             *reply->code ? " (" : "", reply->code, *reply->code ? ")" : "");
    return TASK_RETRY;
}

static enum task_outcome settle(struct task_run *run, const struct charge *charge,
                                const struct gateway_reply *reply, struct err *e)
{
    switch (payment_judge(&reply->answer)) {
    case GATEWAY_SUCCEEDED:
        return settle_success(run, charge, reply->reference, e);
    case GATEWAY_DECLINED:
        return settle_decline(run, charge, *reply->code ? reply->code : reply->intent_status,
                              reply->message, e);
    case GATEWAY_REFUSED:
        return settle_refused(run, charge, reply, e);
    case GATEWAY_MISMATCH:
        return settle_mismatch(run, charge, reply, e);
    case GATEWAY_RETRY:
        break;
    }
    return retry_later(run, reply, e);
}

/* Time for one call: what the soft limit leaves, less a second to write the outcome. */
static int64_t call_timeout_us(const struct task_run *run)
{
    int64_t left = task_time_left_us(run) - US_PER_S;

    return left < CALL_LIMIT_S * US_PER_S ? left : CALL_LIMIT_S * US_PER_S;
}

/* The key may be forgotten: what the gateway knows decides, and nothing is sent that could charge.
 */
static enum task_outcome look_up(struct task_run *run, const struct charge *charge, struct err *e)
{
    struct gateway_reply reply;

    if (charge->state == PAYMENT_PROCESSING && payments_mark_unknown(run->db, &charge->payment, e))
        return task_outcome_of(e);
    gateway_find(run->gateway, charge, call_timeout_us(run), &reply);
    if (!reply.answer.arrived || reply.answer.status != 200 || !reply.answer.is_readable)
        return retry_later(run, &reply, e);
    if (!reply.is_found)
        return settle_decline(run, charge, "never_charged",
                              "the gateway has no charge for this payment", e);
    return settle(run, charge, &reply, e);
}

/* Answers that stay the same for as long as the gateway keeps the key, while the charge behind them
 * may have been made: a stored 500 that is replayed, and a key that was first used with other
 * parameters (by another version of this program). Then its own books are asked. */
static bool is_stuck(const struct task_run *run, const struct gateway_reply *reply)
{
    return (run->attempt >= 4 && reply->answer.status >= 500) ||
           (reply->answer.status == 400 && strcmp(reply->error_type, "idempotency_error") == 0);
}

static enum task_outcome charge_card(struct task_run *run, const struct charge *charge,
                                     struct err *e)
{
    struct gateway_reply reply;

    gateway_charge(run->gateway, charge, call_timeout_us(run), &reply);
    if (is_stuck(run, &reply)) {
        struct gateway_reply found;

        gateway_find(run->gateway, charge, call_timeout_us(run), &found);
        if (found.is_found && strcmp(found.intent_status, "succeeded") == 0)
            return settle(run, charge, &found, e);
    }
    return settle(run, charge, &reply, e);
}

static enum task_outcome run_process_payment(struct task_run *run, struct err *e)
{
    const char *arg = task_arg_text(run, 0);
    struct charge charge;
    struct uuid id;

    if (!arg || !uuid_parse(arg, &id)) {
        (void)err_set(e, ERR_INVALID, "process_payment takes the UUID of a payment");
        return TASK_FAIL;
    }
    if (payments_begin(run->db, &id, &charge, e))
        return task_outcome_of(e);
    switch (charge.state) {
    case PAYMENT_PENDING: /* it could not begin: its order cannot be paid any more */
        return settle_decline(run, &charge, "order_closed", "the order cannot be paid any more", e);
    case PAYMENT_PROCESSING:
        return charge.sent_age_us > PAYMENT_KEY_LIFE_US ? look_up(run, &charge, e)
                                                        : charge_card(run, &charge, e);
    case PAYMENT_UNKNOWN:
        return look_up(run, &charge, e);
    case PAYMENT_SUCCEEDED:
    case PAYMENT_FAILED:
    case PAYMENT_REFUNDED:
        break;
    }
    set_result(run, payment_state_name(charge.state), charge.reference, NULL);
    return TASK_DONE;
}

const struct task task_process_payment = {.name = TASK_PROCESS_PAYMENT,
                                          .queue = QUEUE_PAYMENTS,
                                          .max_attempts = PAYMENT_MAX_ATTEMPTS,
                                          .soft_limit_s = 40,
                                          .hard_limit_s = 60,
                                          .run = run_process_payment};
