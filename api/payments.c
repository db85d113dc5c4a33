/* SPDX-License-Identifier: MIT
 *
 * /api/payments/ and /payment/pay/<id>/ (the same under /market/). A payment is accepted here and
 * made by a worker: 202 with the payment, its task and where to look for the outcome.
 */
#include "common/payments.h"

#include <inttypes.h>
#include <string.h>

#include "api/admission.h"
#include "api/api.h"
#include "api/fields.h"
#include "api/once.h"
#include "api/resource.h"
#include "common/auto.h"
#include "common/money.h"
#include "common/payment.h"
#include "common/shop.h"

/* payment_uuid and payment_status stand for clients of the shop that Till replaces. */
static json_t *payment_json(const struct payment *payment)
{
    char amount[MONEY_TEXT_SIZE];
    json_t *json;

    money_format(payment->amount, amount);
    json = json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s?}", "id",
                     payment->id.text, "order_id", (json_int_t)payment->order_id, "payment_uuid",
                     payment->id.text, "payment_method", payment->method, "payment_status",
                     payment->status, "status", payment->status, "amount", amount, "transaction_id",
                     payment->reference, "created_at", payment->created_at, "updated_at",
                     payment->updated_at, "paid_at", payment->paid_at);
    if (json && payment->failure_code)
        (void)json_object_set_new(json, "failure_code", json_string(payment->failure_code));
    return json;
}

/* ---- reading ---- */

static const char *const statuses[] = {
#define X(name, text) text,
    PAYMENT_STATES(X)
#undef X
        NULL,
};

static const struct resource_field filters[] = {
    {.name = "order_id", .kind = RESOURCE_ID},
    {.name = "status", .kind = RESOURCE_CHOICE, .choices = statuses},
};

static const struct resource resource = {
    .sql = &payments_sql,
    .filters = filters,
    .filters_count = COUNT_OF(filters),
};

RESOURCE_LAGGING(payments_index, resource_index, list)

enum err_code payments_show(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(payment_release) struct payment payment = {0};
    struct uuid id;
    enum err_code rc;

    if (!uuid_parse(request_param(req, 0), &id))
        return err_set(e, ERR_NOT_FOUND, "there is no such payment");
    rc = payments_find(api_db(req), req->user.id, &id, &payment, e);
    return rc ? rc : reply_json(reply, 200, payment_json(&payment), e);
}

/* ---- paying ---- */

struct wish {
    struct payment_new payment;
    bool order_in_path; /* where a wrong order is 404 instead of a field's error */
    struct job_ready job;
};

static const char *text_of(enum payment_refusal refusal)
{
    switch (refusal) {
    case PAYMENT_REFUSED_PAID:
        return "Order is already paid.";
    case PAYMENT_REFUSED_CANCELLED:
        return "Order is cancelled.";
    case PAYMENT_REFUSED_EXPIRED:
        return "Order has expired.";
    case PAYMENT_REFUSED_IN_PROGRESS:
        break;
    }
    return "A payment for this order is already in progress.";
}

static enum err_code reply_no_order(const struct wish *wish, struct reply *reply, struct err *e)
{
    char text[80];

    if (wish->order_in_path)
        return err_set(e, ERR_NOT_FOUND, "there is no such order");
    if (!text_format(text, sizeof text, "Invalid pk \"%" PRId64 "\" - object does not exist.",
                     wish->payment.order_id))
        text[0] = '\0';
    fields_reply_error(reply, "order_id", text);
    return ERR_OK;
}

static enum err_code accept(const struct payment *payment, const struct job_ready *job,
                            struct reply *reply, struct err *e)
{
    json_t *json = payment_json(payment);
    char location[80];

    if (json)
        (void)json_object_set_new(json, "task_id", json_string(job->id.text));
    if (text_format(location, sizeof location, "/api/payments/%s/", payment->id.text))
        reply_header(reply, "Location", location);
    return reply_json(reply, 202, json, e);
}

static enum err_code start(struct request *req, struct reply *reply, void *data, struct err *e)
{
    AUTO_VALUE(payment_release) struct payment payment = {0};
    struct wish *wish = data;
    enum payment_refusal refusal;
    struct err failure = {0};
    enum err_code rc;

    wish->payment.traceparent = req->traceparent;
    rc = payments_start(api_db(req), &wish->payment, &payment, &wish->job, &refusal, &failure);

    if (rc == ERR_NOT_FOUND)
        return reply_no_order(wish, reply, e);
    if (rc == ERR_CONFLICT) {
        fields_reply_error(reply, "order_id", text_of(refusal));
        return ERR_OK;
    }
    if (rc)
        return err_set_detail(e, rc, failure.detail, "%s", failure.text);
    return accept(&payment, &wish->job, reply, e);
}

static void push(struct request *req, void *data)
{
    const struct wish *wish = data;

    api_push(req, &wish->job);
}

/* The fields that both ways of paying share. False: the reply is filled. */
static bool read_wish(struct fields *f, struct wish *wish, struct reply *reply)
{
    bool has_token = fields_is_given(f, "payment_token");

    wish->payment.method = fields_choice(f, "payment_method", payment_methods);
    if (wish->payment.method || has_token) { /* what a method needs is told once there is one */
        wish->payment.token = fields_text(f, "payment_token", PAYMENT_TOKEN_MAX, 0);
        if (wish->payment.token && !payment_token_is_good(wish->payment.token))
            fields_error(f, "payment_token", "Enter a valid payment token (\"pm_...\").");
    }
    return fields_end(f, reply);
}

static enum err_code pay(struct request *req, struct wish *wish, struct reply *reply, struct err *e)
{
    wish->payment.user_id = req->user.id;
    return once_run(req, reply, &(struct once_work){.run = start, .committed = push, .data = wish},
                    e);
}

enum err_code payments_add(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(fields_release) struct fields f = {0};
    struct wish wish = {0};

    if (!admission_is_open(req, reply) || !fields_begin(&f, req->data, reply))
        return ERR_OK;
    (void)fields_id(&f, "order_id", &wish.payment.order_id);
    if (!read_wish(&f, &wish, reply))
        return ERR_OK;
    return pay(req, &wish, reply, e);
}

enum err_code payments_pay_order(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(fields_release) struct fields f = {0};
    struct wish wish = {.order_in_path = true};

    if (!admission_is_open(req, reply) || !fields_begin(&f, req->data, reply))
        return ERR_OK;
    if (!api_path_id(req, &wish.payment.order_id))
        return err_set(e, ERR_NOT_FOUND, "there is no such order");
    if (!read_wish(&f, &wish, reply))
        return ERR_OK;
    return pay(req, &wish, reply, e);
}
