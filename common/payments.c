/* SPDX-License-Identifier: MIT
 *
 * Statements that start and show payments; see payments.h. The gateway is never called from here.
 */
#include "common/payments.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/crashpoint.h"
#include "common/mem.h"
#include "common/money.h"
#include "common/order.h"
#include "common/payment.h"
#include "common/shop.h"
#include "common/statements.h"

enum { LOCK_ORDER, CREATE, BY_TIME, BY_TIME_DOWN, FIND };

#define PAYMENT                                                                                    \
    "p.id, p.order_id, p.payment_method, p.status, p.amount, p.gateway_reference, "                \
    "p.failure_code, " SQL_TIME("p.created_at") ", " SQL_TIME("p.updated_at") ", " SQL_TIME(       \
        "p.paid_at")
#define OF_USER "FROM payments p JOIN orders o ON o.id = p.order_id WHERE o.user_id = $1"
/* $4 order, $5 status */
#define LISTED                                                                                     \
    OF_USER " AND ($4::bigint IS NULL OR p.order_id = $4) AND ($5::text IS NULL OR p.status = $5)"
/* As api/payments.c writes one: `failure_code` is there when there is one. */
#define SHOWN                                                                                      \
    "p.id, p.order_id, p.id AS payment_uuid, p.payment_method, p.status AS payment_status,"        \
    " p.status, p.amount::text, coalesce(p.gateway_reference, '') AS "                             \
    "transaction_id, " SQL_CREATED("p") ", " SQL_UPDATED("p") ", " SQL_TIME(                       \
        "p.paid_at") " AS paid_at"
#define LIST(order)                                                                                \
    "SELECT (SELECT count(*) " LISTED "), '[' || (SELECT coalesce(string_agg("                     \
    "CASE WHEN t.code IS NULL THEN t.json"                                                         \
    " ELSE left(t.json, -1) || ',\"failure_code\":' || to_json(t.code) || '}' END, ','), '')"      \
    " FROM (SELECT (SELECT row_to_json(s)::text FROM (SELECT " SHOWN ") s) AS json,"               \
    " p.failure_code AS code " LISTED " ORDER BY " order " LIMIT $2 OFFSET $3) t) || ']'",         \
        5

static const struct db_stmt statements[] = {
    [LOCK_ORDER] = {"payments_lock_order",
                    "SELECT order_status FROM orders WHERE id = $1 AND user_id = $2"
                    " FOR NO KEY UPDATE",
                    2},
    [CREATE] = {"payments_create",
                "WITH open AS (UPDATE orders SET order_status = 'pending'"
                "  WHERE id = $2 AND order_status = 'payment_failed'),"
                " p AS (INSERT INTO payments (id, order_id, payment_method, payment_token, amount,"
                "  currency, idempotency_key, refund_key)"
                "  SELECT $1, id, $3, $4, total_amount, currency, $5, $6 FROM orders WHERE id = $2"
                "  RETURNING *)"
                " SELECT " PAYMENT " FROM p",
                6},
    [BY_TIME] = {"payments_by_time", LIST("p.created_at, p.id")},
    [BY_TIME_DOWN] = {"payments_by_time_down", LIST("p.created_at DESC, p.id DESC")},
    [FIND] = {"payments_find", "SELECT " PAYMENT " " OF_USER " AND p.id = $2", 2},
};

DB_STATEMENTS(payments, statements);

static const struct resource_order lists[] = {
    {"created_at", &statements[BY_TIME]},
    {"-created_at", &statements[BY_TIME_DOWN]},
    {NULL, NULL},
};

const struct resource_sql payments_sql = {.lists = lists};

const char *const payment_methods[] = {"card", "paypal", "bank_account", NULL};

bool payment_token_is_good(const char *text)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    size_t len = strlen(text);

    return len > 3 && len <= PAYMENT_TOKEN_MAX && strncmp(text, "pm_", 3) == 0 &&
           strspn(text + 3, letters) == len - 3;
}

void payment_release(struct payment *payment)
{
    mem_free(payment->method);
    mem_free(payment->status);
    mem_free(payment->reference);
    mem_free(payment->failure_code);
    mem_free(payment->created_at);
    mem_free(payment->updated_at);
    mem_free(payment->paid_at);
    *payment = (struct payment){0};
}

static char *dup_or_null(const struct db_result *rows, int row, int col)
{
    return db_is_null(rows, row, col) ? NULL : mem_dup(db_text(rows, row, col));
}

static enum err_code read_row(const struct db_result *rows, int row, struct payment *payment,
                              struct err *e)
{
    *payment = (struct payment){
        .order_id = db_int(rows, row, 1),
        .method = mem_dup(db_text(rows, row, 2)),
        .status = mem_dup(db_text(rows, row, 3)),
        .reference = mem_dup(db_text(rows, row, 5)),
        .failure_code = dup_or_null(rows, row, 6),
        .created_at = mem_dup(db_text(rows, row, 7)),
        .updated_at = mem_dup(db_text(rows, row, 8)),
        .paid_at = dup_or_null(rows, row, 9),
    };
    if (!uuid_parse(db_text(rows, row, 0), &payment->id) ||
        !money_parse(db_text(rows, row, 4), &payment->amount))
        return err_set(e, ERR_PROTOCOL, "a payment of the database is not readable");
    return ERR_OK;
}

/* ---- starting ---- */

static enum err_code refuse(enum payment_refusal *ret, enum payment_refusal reason, struct err *e)
{
    *ret = reason;
    return err_set(e, ERR_CONFLICT, "the order cannot be paid now");
}

static enum err_code check_order(const struct db_result *rows, enum payment_refusal *ret_refusal,
                                 struct err *e)
{
    enum order_state state;

    if (db_rows(rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no such order");
    if (!order_state_parse(db_text(rows, 0, 0), &state))
        return err_set(e, ERR_PROTOCOL, "the order is in an unknown state");
    if (order_is_payable(state))
        return ERR_OK;
    if (state == ORDER_CANCELLED)
        return refuse(ret_refusal, PAYMENT_REFUSED_CANCELLED, e);
    if (state == ORDER_EXPIRED)
        return refuse(ret_refusal, PAYMENT_REFUSED_EXPIRED, e);
    return refuse(ret_refusal, PAYMENT_REFUSED_PAID, e);
}

static enum err_code insert(struct db *db, const struct payment_new *new_payment,
                            struct payment *payment, enum payment_refusal *ret_refusal,
                            struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct uuid id = uuid_v7();
    struct uuid key = uuid_v4();
    struct uuid refund_key = uuid_v4();
    struct err refused = {0};
    enum err_code rc = db_query(db, &statements[CREATE],
                                DB_ARGS(DB_TEXT(id.text), DB_INT(new_payment->order_id),
                                        DB_TEXT(new_payment->method), DB_TEXT(new_payment->token),
                                        DB_TEXT(key.text), DB_TEXT(refund_key.text)),
                                &rows, &refused);

    if (rc == ERR_CONFLICT && strcmp(db_constraint(db), "payments_one_live") == 0)
        return refuse(ret_refusal, PAYMENT_REFUSED_IN_PROGRESS, e);
    if (rc)
        return err_set_detail(e, rc, refused.detail, "%s", refused.text);
    return read_row(rows, 0, payment, e);
}

static enum err_code insert_job(struct db *db, const char *task, const struct uuid *payment,
                                const char *traceparent, struct job_ready *ret_job, struct err *e)
{
    char args[64];

    if (!text_format(args, sizeof args, "[\"%s\"]", payment->text))
        return err_set(e, ERR_INTERNAL, "the id of a payment is too long");
    return jobs_insert(db,
                       &(struct job_new){
                           .task = task,
                           .queue = QUEUE_PAYMENTS,
                           .priority = JOB_PRIORITY_NORMAL,
                           .args = args,
                           .max_attempts = PAYMENT_MAX_ATTEMPTS,
                           .traceparent = traceparent,
                       },
                       ret_job, e);
}

enum err_code payments_add_refund(struct db *db, const struct uuid *payment,
                                  struct job_ready *ret_job, struct err *e)
{
    return insert_job(db, TASK_REFUND_PAYMENT, payment, NULL, ret_job, e);
}

enum err_code payments_add_confirmation(struct db *db, int64_t order_id, struct job_ready *ret_job,
                                        struct err *e)
{
    char args[32];

    (void)snprintf(args, sizeof args, "[%" PRId64 "]", order_id);
    return jobs_insert(db,
                       &(struct job_new){
                           .task = TASK_SEND_CONFIRMATION,
                           .queue = QUEUE_MAIL,
                           .priority = JOB_PRIORITY_NORMAL,
                           .args = args,
                           .max_attempts = CONFIRMATION_MAX_ATTEMPTS,
                       },
                       ret_job, e);
}

enum err_code payments_start(struct db *db, const struct payment_new *new_payment,
                             struct payment *ret_payment, struct job_ready *ret_job,
                             enum payment_refusal *ret_refusal, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(payment_release) struct payment payment = {0};
    enum err_code rc =
        db_query(db, &statements[LOCK_ORDER],
                 DB_ARGS(DB_INT(new_payment->order_id), DB_INT(new_payment->user_id)), &rows, e);

    if (!rc)
        rc = check_order(rows, ret_refusal, e);
    if (!rc)
        rc = insert(db, new_payment, &payment, ret_refusal, e);
    CRASH_POINT("payment.inserted");
    if (!rc)
        rc =
            insert_job(db, TASK_PROCESS_PAYMENT, &payment.id, new_payment->traceparent, ret_job, e);
    if (rc)
        return rc;
    *ret_payment = payment;
    payment = (struct payment){0};
    return ERR_OK;
}

/* ---- reading ---- */

enum err_code payments_find(struct db *db, int64_t user_id, const struct uuid *id,
                            struct payment *ret_payment, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(payment_release) struct payment payment = {0};
    enum err_code rc =
        db_query(db, &statements[FIND], DB_ARGS(DB_INT(user_id), DB_TEXT(id->text)), &rows, e);

    if (!rc && db_rows(rows) == 0)
        rc = err_set(e, ERR_NOT_FOUND, "there is no such payment");
    if (!rc)
        rc = read_row(rows, 0, &payment, e);
    if (rc)
        return rc;
    *ret_payment = payment;
    payment = (struct payment){0};
    return ERR_OK;
}
