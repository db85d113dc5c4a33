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
#include <string.h>

#include "common/crashpoint.h"
#include "worker/payment_settle.h"

/* The key may be forgotten: what the gateway knows decides, and nothing is sent that could charge.
 */
static enum task_outcome look_up(struct task_run *run, const struct charge *charge, struct err *e)
{
    struct gateway_reply reply;

    if (charge->state == PAYMENT_PROCESSING && payments_mark_unknown(run->db, &charge->payment, e))
        return task_outcome_of(e);
    if (!task_may_call(run, run->gateway_breaker))
        return TASK_SNOOZE;
    gateway_find(run->gateway, charge, payment_call_timeout_us(run), &reply);
    task_called(run->gateway_breaker, "gateway", reply.answer.arrived);
    if (!reply.answer.arrived || reply.answer.status != 200 || !reply.answer.is_readable)
        return payment_retry_later(run, &reply, e);
    if (!reply.is_found)
        return payment_settle_decline(run, charge, "never_charged",
                                      "the gateway has no charge for this payment", e);
    return payment_settle(run, charge, &reply, e);
}

/* A success, or the verdict about the card: nothing is to come any more under this key. */
static bool is_final(const struct gateway_reply *found)
{
    if (!found->is_found)
        return false;
    return strcmp(found->intent_status, "succeeded") == 0 ||
           (*found->code && payment_judge(&found->answer) == GATEWAY_DECLINED);
}

static enum task_outcome charge_card(struct task_run *run, const struct charge *charge,
                                     struct err *e)
{
    struct gateway_reply reply;

    if (!task_may_call(run, run->gateway_breaker))
        return TASK_SNOOZE;
    CRASH_POINT("charge.before");
    gateway_charge(run->gateway, charge, payment_call_timeout_us(run), &reply);
    CRASH_POINT("charge.after");
    task_called(run->gateway_breaker, "gateway", reply.answer.arrived);
    if (payment_is_stuck(run, &reply)) {
        struct gateway_reply found;

        gateway_find(run->gateway, charge, payment_call_timeout_us(run), &found);
        if (is_final(&found))
            return payment_settle(run, charge, &found, e);
    }
    return payment_settle(run, charge, &reply, e);
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
        return payment_settle_decline(run, &charge, "order_closed",
                                      "the order cannot be paid any more", e);
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
    payment_set_result(run, payment_state_name(charge.state), charge.reference, NULL);
    return TASK_DONE;
}

const struct task task_process_payment = {.name = TASK_PROCESS_PAYMENT,
                                          .queue = QUEUE_PAYMENTS,
                                          .max_attempts = PAYMENT_MAX_ATTEMPTS,
                                          .soft_limit_s = 40,
                                          .hard_limit_s = 60,
                                          .run = run_process_payment};
