/* SPDX-License-Identifier: MIT
 *
 * Writing what the gateway said about a payment; see payment_settle.h. Every end stands in one
 * transaction with its job, and is a compare-and-set of the payment's status.
 */
#include "worker/payment_settle.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/mem.h"

enum { CALL_LIMIT_S = 30 };

void payment_set_result(struct task_run *run, const char *status, const char *reference,
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
    return task_enqueue_at_end(run, &job, e);
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
    CRASH_POINT("payment.succeeded");
    if (!rc && effect == ORDER_EFFECT_PAID)
        rc = add_confirmation(run, charge, e);
    if (!rc && effect == ORDER_EFFECT_CLOSED)
        rc = add_refund(run, charge, e);
    if (rc)
        return task_outcome_of(e);
    CRASH_POINT("payment.confirmation_added");
    payment_set_result(run, "succeeded", reference, NULL);
    return TASK_DONE;
}

enum task_outcome payment_settle_decline(struct task_run *run, const struct charge *charge,
                                         const char *code, const char *message, struct err *e)
{
    enum err_code rc = task_begin(run, e);

    if (!rc)
        rc = payments_decline(run->db, &charge->payment, code, message, e);
    if (rc)
        return task_outcome_of(e);
    CRASH_POINT("payment.declined");
    payment_set_result(run, "failed", NULL, code);
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

enum task_outcome payment_retry_later(struct task_run *run, const struct gateway_reply *reply,
                                      struct err *e)
{
    run->retry_after_us = reply->retry_after_us;
    if (reply->unsent)
        (void)err_set_detail(e, ERR_UNAVAILABLE, reply->transport,
                             "nothing was sent to the gateway: %s", reply->unsent);
    else if (!reply->answer.arrived)
        (void)err_set_detail(e, ERR_TIMEOUT, reply->transport,
                             "the gateway gave no answer; the charge may have been made");
    else
        (void)err_set_detail(e, ERR_UNAVAILABLE, reply->message,
                             "the gateway answered with status %ld%s%s%s", reply->answer.status,
                             *reply->code ? " (" : "", reply->code, *reply->code ? ")" : "");
    return TASK_RETRY;
}

/* Why not, in one word: for a token of a kind that we do not ask for the gateway has none. */
static const char *decline_code(const struct gateway_reply *reply)
{
    if (*reply->code)
        return reply->code;
    return *reply->intent_status ? reply->intent_status : "payment_method_not_allowed";
}

enum task_outcome payment_settle(struct task_run *run, const struct charge *charge,
                                 const struct gateway_reply *reply, struct err *e)
{
    switch (payment_judge(&reply->answer)) {
    case GATEWAY_SUCCEEDED:
        return settle_success(run, charge, reply->reference, e);
    case GATEWAY_DECLINED:
        return payment_settle_decline(run, charge, decline_code(reply), reply->message, e);
    case GATEWAY_REFUSED:
        return settle_refused(run, charge, reply, e);
    case GATEWAY_MISMATCH:
        return settle_mismatch(run, charge, reply, e);
    case GATEWAY_RETRY:
        break;
    }
    return payment_retry_later(run, reply, e);
}

bool payment_is_stuck(const struct task_run *run, const struct gateway_reply *reply)
{
    return (run->attempt >= 4 && reply->answer.status >= 500) ||
           (reply->answer.status == 400 && strcmp(reply->error_type, "idempotency_error") == 0);
}

int64_t payment_call_timeout_us(const struct task_run *run)
{
    int64_t left = task_time_left_us(run) - US_PER_S;

    return left < CALL_LIMIT_S * US_PER_S ? left : CALL_LIMIT_S * US_PER_S;
}
