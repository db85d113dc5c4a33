/* SPDX-License-Identifier: MIT
 *
 * The worker's statements about payments; see payments_run.h. The partial unique index
 * payments_one_live and the transition triggers stand behind every one of them.
 */
#include "common/payments_run.h"

#include <stdio.h>

#include "common/buf.h"
#include "common/money.h"
#include "common/statements.h"

enum { BEGIN, READ, SUCCEED, DECLINE, MARK_UNKNOWN, REFUNDED };
enum { DECLINE_TEXT_MAX = 4096 };

/* Whoever writes a payment and its order takes the order first, as payments_start() does: it holds
 * the order while its INSERT waits for the end of another payment. */
#define HELD                                                                                       \
    "WITH held AS (SELECT o.id FROM payments p JOIN orders o ON o.id = p.order_id WHERE p.id = $1" \
    " FOR NO KEY UPDATE OF o)"
#define OF_HELD " FROM held WHERE p.id = $1 AND p.order_id = held.id"

#define CHARGE_COLUMNS                                                                             \
    "p.id, p.order_id, p.amount, p.currency, p.payment_token, p.idempotency_key, p.refund_key,"    \
    " coalesce(p.gateway_reference, ''), p.status, o.order_status,"                                \
    " coalesce((extract(epoch FROM now() - p.first_sent_at) * 1000000)::bigint, -1)"

static const struct db_stmt statements[] = {
    [BEGIN] = {"payments_begin",
               "UPDATE payments p SET status = 'processing', first_sent_at = now()"
               " FROM orders o WHERE p.id = $1 AND o.id = p.order_id AND p.status = 'pending'"
               " AND o.order_status IN ('pending', 'payment_failed') RETURNING " CHARGE_COLUMNS,
               1},
    [READ] = {"payments_read",
              "SELECT " CHARGE_COLUMNS
              " FROM payments p JOIN orders o ON o.id = p.order_id WHERE p.id = $1",
              1},
    [SUCCEED] = {"payments_succeed",
                 HELD
                 ", paid AS ("
                 " UPDATE payments p SET status = 'succeeded', gateway_reference = $2, paid_at = "
                 "now()" OF_HELD " AND p.status IN ('processing', 'unknown') RETURNING p.order_id"
                 "), closed AS ("
                 " UPDATE orders o SET order_status = 'paid' FROM paid WHERE o.id = paid.order_id"
                 " AND o.order_status IN ('pending', 'payment_failed') RETURNING o.id"
                 ") SELECT EXISTS (SELECT FROM paid), EXISTS (SELECT FROM closed)",
                 2},
    [DECLINE] =
        {"payments_decline",
         HELD
         ", declined AS ("
         " UPDATE payments p SET status = 'failed', failure_code = $2, failure_message = $3" OF_HELD
         " AND p.status IN ('pending', 'processing', 'unknown')"
         " RETURNING p.order_id"
         ") UPDATE orders o SET order_status = 'payment_failed' FROM declined"
         " WHERE o.id = declined.order_id AND o.order_status = 'pending'",
         3},
    [MARK_UNKNOWN] = {"payments_mark_unknown",
                      "UPDATE payments SET status = 'unknown' WHERE id = $1"
                      " AND status = 'processing'",
                      1},
    [REFUNDED] = {"payments_refunded",
                  HELD ", refunded AS ("
                       " UPDATE payments p SET status = 'refunded'" OF_HELD
                       " AND p.status = 'succeeded' RETURNING p.order_id"
                       "), closed AS (UPDATE orders o SET order_status = 'refunded' FROM refunded"
                       " WHERE o.id = refunded.order_id AND o.order_status = 'paid' RETURNING o.id)"
                       " SELECT give_stock_back(id) FROM closed",
                  1},
};

DB_STATEMENTS(payments_run, statements);

static enum err_code fill(const struct db_result *rows, struct charge *ret_charge, struct err *e)
{
    struct charge charge = {.order_id = db_int(rows, 0, 1), .sent_age_us = db_int(rows, 0, 10)};

    if (!uuid_parse(db_text(rows, 0, 0), &charge.payment) ||
        !money_parse(db_text(rows, 0, 2), &charge.amount) ||
        !uuid_parse(db_text(rows, 0, 5), &charge.key) ||
        !uuid_parse(db_text(rows, 0, 6), &charge.refund_key) ||
        !payment_state_parse(db_text(rows, 0, 8), &charge.state) ||
        !order_state_parse(db_text(rows, 0, 9), &charge.order_state))
        return err_set(e, ERR_INTERNAL, "payment %s is not readable", db_text(rows, 0, 0));
    (void)snprintf(charge.currency, sizeof charge.currency, "%s", db_text(rows, 0, 3));
    (void)snprintf(charge.token, sizeof charge.token, "%s", db_text(rows, 0, 4));
    (void)snprintf(charge.reference, sizeof charge.reference, "%s", db_text(rows, 0, 7));
    *ret_charge = charge;
    return ERR_OK;
}

enum err_code payments_read(struct db *db, const struct uuid *id, struct charge *ret_charge,
                            struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[READ], DB_ARGS(DB_TEXT(id->text)), &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no payment %s", id->text);
    return fill(rows, ret_charge, e);
}

enum err_code payments_begin(struct db *db, const struct uuid *id, struct charge *ret_charge,
                             struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[BEGIN], DB_ARGS(DB_TEXT(id->text)), &rows, e);

    if (rc)
        return rc;
    return db_rows(rows) > 0 ? fill(rows, ret_charge, e) : payments_read(db, id, ret_charge, e);
}

/* Of a payment that was not open: whether it had succeeded before. Asked by a statement of its own,
 * since the one that waited for the order sees all but its rows as they were when it began. */
static enum err_code check_succeeded(struct db *db, const struct uuid *id, struct err *e)
{
    struct charge charge = {0};
    enum err_code rc = payments_read(db, id, &charge, e);

    if (rc || charge.state == PAYMENT_SUCCEEDED || charge.state == PAYMENT_REFUNDED)
        return rc;
    return err_set(e, ERR_CONFLICT, "payment %s has failed and was charged all the same", id->text);
}

enum err_code payments_succeed(struct db *db, const struct uuid *id, const char *reference,
                               enum order_effect *ret_effect, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[SUCCEED],
                                DB_ARGS(DB_TEXT(id->text), DB_TEXT(reference)), &rows, e);

    if (rc)
        return rc;
    *ret_effect = ORDER_EFFECT_NONE;
    if (!db_bool(rows, 0, 0))
        return check_succeeded(db, id, e);
    *ret_effect = db_bool(rows, 0, 1) ? ORDER_EFFECT_PAID : ORDER_EFFECT_CLOSED;
    return ERR_OK;
}

enum err_code payments_decline(struct db *db, const struct uuid *id, const char *code,
                               const char *message, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf clean_code;
    AUTO_VALUE(buf_release) struct buf clean_message;

    buf_init(&clean_code, DECLINE_TEXT_MAX);
    buf_init(&clean_message, DECLINE_TEXT_MAX);
    buf_add_text(&clean_code, code);
    buf_add_text(&clean_message, message);
    return db_exec(
        db, &statements[DECLINE],
        DB_ARGS(DB_TEXT(id->text), DB_TEXT(clean_code.data), DB_TEXT(clean_message.data)), NULL, e);
}

enum err_code payments_mark_unknown(struct db *db, const struct uuid *id, struct err *e)
{
    return db_exec(db, &statements[MARK_UNKNOWN], DB_ARGS(DB_TEXT(id->text)), NULL, e);
}

enum err_code payments_refunded(struct db *db, const struct uuid *id, struct err *e)
{
    return db_exec(db, &statements[REFUNDED], DB_ARGS(DB_TEXT(id->text)), NULL, e);
}
