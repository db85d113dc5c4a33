/* SPDX-License-Identifier: MIT
 *
 * Statements of the shop's schedules; see upkeep.h.
 */
#include "common/upkeep.h"

#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/statements.h"

enum {
    LOCK_UNPAID,
    EXPIRE,
    START_STUCK,
    HISTORY,
    DAY_BEFORE,
    START_REPORT,
    REPORT_HEAD,
    TOTALS,
    PRODUCTS
};

enum { IDS_MAX = 64 * 1024 };

#define LIVE "('pending', 'processing', 'unknown', 'succeeded')"
/* As the index jobs_of_payment has it. */
#define OF_PAYMENT "('payments.tasks.process_payment', 'payments.tasks.reconcile_payment')"
/* By its local date: where the clock is put back to midnight, midnight comes twice, and PostgreSQL
 * takes the second. The times around it are for the index. */
#define THAT_DAY(time)                                                                             \
    time " >= (($1::date)::timestamp AT TIME ZONE $2) - interval '3 hours'"                        \
         " AND " time " < (($1::date + 1)::timestamp AT TIME ZONE $2) + interval '3 hours'"        \
         " AND (" time " AT TIME ZONE $2)::date = $1::date"
#define SOLD_THAT_DAY THAT_DAY("s.paid_at")
#define PLACED_THAT_DAY THAT_DAY("o.created_at")

static const struct db_stmt statements[] = {
    /* Whoever starts a payment locks its order first. */
    [LOCK_UNPAID] =
        {"upkeep_lock_unpaid",
         "SELECT o.id FROM orders o WHERE (o.order_status IN ('pending', 'payment_failed')) IS TRUE"
         " AND o.created_at < now() - $1::bigint * interval '1 second'"
         " AND NOT EXISTS (SELECT FROM payments p WHERE p.order_id = o.id AND p.status IN " LIVE
         ") ORDER BY o.created_at LIMIT $2 FOR NO KEY UPDATE OF o SKIP LOCKED",
         2},
    /* A statement of its own, after the locks: it sees what was committed until then. Products are
     * locked in the order in which orders take them. */
    [EXPIRE] =
        {"upkeep_expire",
         "WITH expired AS (UPDATE orders o SET order_status = 'expired'"
         "  WHERE o.id = ANY ($1::bigint[]) AND o.order_status IN ('pending', 'payment_failed')"
         "  AND NOT EXISTS (SELECT FROM payments p WHERE p.order_id = o.id"
         "   AND p.status IN " LIVE ") RETURNING o.id"
         "), given AS (SELECT i.product_id, sum(i.quantity) AS quantity FROM order_items i"
         "  JOIN expired x ON x.id = i.order_id GROUP BY i.product_id"
         "), locked AS (SELECT p.id, g.quantity FROM products p"
         "  JOIN given g ON g.product_id = p.id ORDER BY p.id FOR NO KEY UPDATE OF p"
         "), back AS (UPDATE products p SET stock_quantity = p.stock_quantity + l.quantity"
         "  FROM locked l WHERE p.id = l.id RETURNING p.id"
         ") SELECT (SELECT count(*) FROM expired),"
         " (SELECT count(*) FROM given) - (SELECT count(*) FROM back)",
         1},
    [START_STUCK] =
        {"upkeep_start_stuck",
         "SELECT count(till_enqueue('payments.tasks.reconcile_payment', jsonb_build_array(id)))"
         " FROM (SELECT p.id FROM payments p"
         "  WHERE (p.status IN ('pending', 'processing', 'unknown')) IS TRUE"
         "  AND p.created_at < now() - $1::bigint * interval '1 second'"
         "  AND coalesce(p.first_sent_at, p.created_at) <"
         "   now() - $1::bigint * interval '1 second'"
         /* A count, since the few jobs of each payment are to be looked up: an EXISTS may be
          * answered by reading those of all payments that ever were. */
         "  AND (SELECT count(*) FROM jobs j WHERE j.task IN " OF_PAYMENT
         "   AND j.args ->> 0 = p.id::text AND (j.finished_at IS NULL"
         "    OR (j.task = 'payments.tasks.reconcile_payment'"
         "     AND j.created_at > now() - (now() - p.created_at) / 4))) = 0"
         "  ORDER BY p.created_at LIMIT $2) stuck",
         2},
    [HISTORY] = {"upkeep_payment_history",
                 "SELECT EXISTS (SELECT FROM jobs j WHERE j.task IN " OF_PAYMENT
                 "  AND j.task = 'payments.tasks.process_payment' AND j.args ->> 0 = p.id::text"
                 "  AND j.finished_at IS NULL), coalesce((SELECT j.state = 'REVOKED' FROM jobs j"
                 "  WHERE j.task IN " OF_PAYMENT " AND j.task = 'payments.tasks.process_payment'"
                 "  AND j.args ->> 0 = p.id::text ORDER BY j.id DESC LIMIT 1), false),"
                 " (extract(epoch FROM now() - p.created_at) * 1000000)::bigint"
                 " FROM payments p WHERE p.id = $1",
                 1},
    [DAY_BEFORE] = {"upkeep_day_before",
                    "SELECT to_char(($1::timestamptz AT TIME ZONE $2)::date - 1, 'YYYY-MM-DD')", 2},
    /* The row is the mail: whoever runs second finds it there. */
    [START_REPORT] =
        {"upkeep_start_report",
         "WITH made AS (INSERT INTO sales_reports (day, user_id, job_id)"
         "  SELECT $1::date, id, new_job_id() FROM users WHERE is_staff AND is_active"
         "  ORDER BY id ON CONFLICT DO NOTHING RETURNING user_id, job_id)"
         " SELECT count(till_enqueue('reports.tasks.send_daily_sales',"
         "  jsonb_build_array(to_char($1::date, 'YYYY-MM-DD'), user_id), id => job_id)) FROM made",
         1},
    [REPORT_HEAD] =
        {"upkeep_report_head",
         "SELECT u.email, coalesce(nullif(trim(u.first_name || ' ' || u.last_name), ''),"
         " u.username), (SELECT count(*) FROM orders o WHERE " PLACED_THAT_DAY ")"
         " FROM (SELECT 1) one LEFT JOIN users u ON u.id = $3 AND u.is_staff AND u.is_active",
         3},
    [TOTALS] = {"upkeep_totals",
                "SELECT s.currency, sum(s.amount),"
                " coalesce(sum(s.amount) FILTER (WHERE s.is_refunded), 0.00),"
                " coalesce(sum(s.amount) FILTER (WHERE NOT s.is_refunded), 0.00), count(*),"
                " count(*) FILTER (WHERE s.is_refunded),"
                " coalesce(sum(s.items) FILTER (WHERE NOT s.is_refunded), 0)"
                " FROM sales s WHERE " SOLD_THAT_DAY " GROUP BY s.currency ORDER BY s.currency",
                2},
    [PRODUCTS] = {"upkeep_products",
                  "SELECT p.name, sum(i.quantity) FROM sales s"
                  " JOIN order_items i ON i.order_id = s.order_id"
                  " JOIN products p ON p.id = i.product_id"
                  " WHERE NOT s.is_refunded AND " SOLD_THAT_DAY
                  " GROUP BY p.id, p.name ORDER BY 2 DESC, p.id LIMIT 10",
                  2},
};

DB_STATEMENTS(upkeep, statements);

/* ---- orders ---- */

static enum err_code expire_locked(struct db *db, const struct db_result *locked,
                                   int64_t *ret_count, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    enum err_code rc;

    buf_init(&ids, IDS_MAX);
    for (int i = 0; i < db_rows(locked); i++)
        db_array_add(&ids, db_text(locked, i, 0));
    db_array_end(&ids);
    if (ids.overflow)
        return err_set(e, ERR_INTERNAL, "too many orders at once");
    rc = db_query(db, &statements[EXPIRE], DB_ARGS(DB_TEXT(ids.data)), &rows, e);
    if (!rc && db_int(rows, 0, 1) != 0)
        rc = err_set(e, ERR_INTERNAL, "expired orders gave other stock back than they had taken");
    if (!rc)
        *ret_count = db_int(rows, 0, 0);
    return rc;
}

enum err_code orders_expire(struct db *db, int64_t age_s, int max, int64_t *ret_count,
                            struct err *e)
{
    AUTO(db_result_free) struct db_result *locked = NULL;
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    enum err_code rc = db_begin(db, &tx, e);

    *ret_count = 0;
    if (!rc)
        rc =
            db_query(db, &statements[LOCK_UNPAID], DB_ARGS(DB_INT(age_s), DB_INT(max)), &locked, e);
    if (!rc && db_rows(locked) > 0)
        rc = expire_locked(db, locked, ret_count, e);
    return rc ? rc : db_commit(&tx, e);
}

/* ---- payments ---- */

enum err_code payments_reconcile_stuck(struct db *db, int64_t age_s, int max, int64_t *ret_count,
                                       struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(db, &statements[START_STUCK], DB_ARGS(DB_INT(age_s), DB_INT(max)), &rows, e);

    if (!rc)
        *ret_count = db_int(rows, 0, 0);
    return rc;
}

enum err_code payments_read_history(struct db *db, const struct uuid *payment,
                                    struct reconcile_history *ret_history, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(db, &statements[HISTORY], DB_ARGS(DB_TEXT(payment->text)), &rows, e);

    if (!rc && db_rows(rows) == 0)
        rc = err_set(e, ERR_NOT_FOUND, "there is no payment %s", payment->text);
    if (!rc)
        *ret_history = (struct reconcile_history){.has_open_job = db_bool(rows, 0, 0),
                                                  .was_revoked = db_bool(rows, 0, 1),
                                                  .age_us = db_int(rows, 0, 2)};
    return rc;
}

/* ---- sales ---- */

enum err_code sales_day_before(struct db *db, const char *at, const char *zone,
                               char ret_day[SALES_DAY_SIZE], struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(db, &statements[DAY_BEFORE], DB_ARGS(DB_TEXT(at), DB_TEXT(zone)), &rows, e);

    if (!rc)
        (void)snprintf(ret_day, SALES_DAY_SIZE, "%s", db_text(rows, 0, 0));
    return rc;
}

enum err_code sales_report_start(struct db *db, const char *day, int64_t *ret_mails, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[START_REPORT], DB_ARGS(DB_TEXT(day)), &rows, e);

    if (!rc)
        *ret_mails = db_int(rows, 0, 0);
    return rc;
}

void sales_report_release(struct sales_report *report)
{
    for (size_t i = 0; i < report->totals_count; i++) {
        mem_free(report->totals[i].currency);
        mem_free(report->totals[i].gross);
        mem_free(report->totals[i].refunded);
        mem_free(report->totals[i].net);
    }
    for (size_t i = 0; i < report->products_count; i++)
        mem_free(report->products[i].name);
    mem_free(report->totals);
    mem_free(report->products);
    mem_free(report->email);
    mem_free(report->name);
    *report = (struct sales_report){0};
}

static void read_totals(const struct db_result *rows, struct sales_report *report)
{
    report->totals_count = (size_t)db_rows(rows);
    report->totals = mem_array(report->totals_count + 1, sizeof report->totals[0]);
    for (int i = 0; i < db_rows(rows); i++)
        report->totals[i] = (struct sales_total){
            .currency = mem_dup(db_text(rows, i, 0)),
            .gross = mem_dup(db_text(rows, i, 1)),
            .refunded = mem_dup(db_text(rows, i, 2)),
            .net = mem_dup(db_text(rows, i, 3)),
            .orders = db_int(rows, i, 4),
            .refunds = db_int(rows, i, 5),
            .items = db_int(rows, i, 6),
        };
}

static void read_products(const struct db_result *rows, struct sales_report *report)
{
    report->products_count = (size_t)db_rows(rows);
    report->products = mem_array(report->products_count + 1, sizeof report->products[0]);
    for (int i = 0; i < db_rows(rows); i++)
        report->products[i] = (struct sales_product){.name = mem_dup(db_text(rows, i, 0)),
                                                     .items = db_int(rows, i, 1)};
}

enum err_code sales_report_read(struct db *db, const char *day, const char *zone, int64_t user_id,
                                struct sales_report *ret_report, struct err *e)
{
    AUTO(db_result_free) struct db_result *head = NULL;
    AUTO(db_result_free) struct db_result *totals = NULL;
    AUTO(db_result_free) struct db_result *products = NULL;
    struct sales_report report = {0};
    enum err_code rc = db_query(db, &statements[REPORT_HEAD],
                                DB_ARGS(DB_TEXT(day), DB_TEXT(zone), DB_INT(user_id)), &head, e);

    if (!rc)
        rc = db_query(db, &statements[TOTALS], DB_ARGS(DB_TEXT(day), DB_TEXT(zone)), &totals, e);
    if (!rc)
        rc =
            db_query(db, &statements[PRODUCTS], DB_ARGS(DB_TEXT(day), DB_TEXT(zone)), &products, e);
    if (rc)
        return rc;
    if (!db_is_null(head, 0, 0)) {
        report.email = mem_dup(db_text(head, 0, 0));
        report.name = mem_dup(db_text(head, 0, 1));
    }
    report.placed = db_int(head, 0, 2);
    read_totals(totals, &report);
    read_products(products, &report);
    *ret_report = report;
    return ERR_OK;
}
