/* SPDX-License-Identifier: MIT
 *
 * Statements on the items of orders: listing them, and adding one to an order that nobody pays for
 * yet. The order is locked before its product, as everywhere.
 */
#include "common/order_items.h"

#include "common/mem.h"
#include "common/money.h"
#include "common/order.h"
#include "common/orders.h"
#include "common/shop.h"
#include "common/statements.h"

#define COLUMNS                                                                                    \
    "i.id, i.order_id, i.quantity, i.price::text, " SQL_CREATED("i") ", " SQL_UPDATED(             \
        "i") ", i.product_id"
/* $4 order, $5 product */
#define LISTED                                                                                     \
    "order_items i JOIN orders o ON o.id = i.order_id WHERE o.user_id = $1"                        \
    " AND ($4::bigint IS NULL OR i.order_id = $4) AND ($5::bigint IS NULL OR i.product_id = $5)"

enum { BY_ID, BY_ID_DOWN, CHECK, LOCK_ORDER, LOCK_PRODUCT, ADD };

static const struct db_stmt statements[] = {
    [BY_ID] = {"order_items_by_id", SQL_PAGE(COLUMNS, LISTED, "i.id"), 5},
    [BY_ID_DOWN] = {"order_items_by_id_down", SQL_PAGE(COLUMNS, LISTED, "i.id DESC"), 5},
    [CHECK] = {"order_items_check",
               "SELECT EXISTS (SELECT FROM orders WHERE user_id = $1 AND id = $2),"
               " EXISTS (SELECT FROM products WHERE id = $3)",
               3},
    [LOCK_ORDER] = {"order_items_lock_order",
                    "SELECT o.order_status, o.total_amount"
                    " FROM orders o WHERE o.user_id = $1 AND o.id = $2 FOR NO KEY UPDATE OF o",
                    2},
    /* After the lock: payments that were started and items that were added before it are seen. */
    [LOCK_PRODUCT] = {"order_items_lock_product",
                      "SELECT p.price, p.stock_quantity, EXISTS (SELECT FROM payments y"
                      "  WHERE y.order_id = $1 AND y.status <> 'failed'),"
                      " (SELECT count(*) FROM order_items i WHERE i.order_id = $1)"
                      " FROM products p WHERE p.id = $2 FOR NO KEY UPDATE OF p",
                      2},
    [ADD] = {"order_items_add",
             "WITH i AS (INSERT INTO order_items (order_id, product_id, quantity, price)"
             "  VALUES ($1, $2, $3, $4) RETURNING *),"
             " o AS (UPDATE orders SET total_amount = $5 WHERE id = $1),"
             " p AS (UPDATE products SET stock_quantity = stock_quantity - $3 WHERE id = $2),"
             " t AS (SELECT " COLUMNS " FROM i) SELECT row_to_json(t)::text FROM t",
             5},
};

DB_STATEMENTS(order_items, statements);

static const struct resource_order lists[] = {
    {"id", &statements[BY_ID]},
    {"-id", &statements[BY_ID_DOWN]},
    {NULL, NULL},
};

const struct resource_sql order_items_sql = {.lists = lists, .check = &statements[CHECK]};

static enum err_code refuse(enum order_item_refusal *ret, enum order_item_refusal reason,
                            struct err *e)
{
    *ret = reason;
    return err_set(e, ERR_CONFLICT, "the item cannot be added");
}

/* The order's total so far. */
static enum err_code lock_order(struct db *db, const struct order_item_new *item,
                                int64_t *ret_total, enum order_item_refusal *ret_refusal,
                                struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum order_state state;
    enum err_code rc = db_query(db, &statements[LOCK_ORDER],
                                DB_ARGS(DB_INT(item->user_id), DB_INT(item->order_id)), &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) == 0)
        return refuse(ret_refusal, ORDER_ITEM_NO_ORDER, e);
    if (!order_state_parse(db_text(rows, 0, 0), &state) ||
        !money_parse(db_text(rows, 0, 1), ret_total))
        return err_set(e, ERR_PROTOCOL, "an order of the database is not readable");
    if (!order_is_payable(state))
        return refuse(ret_refusal, ORDER_ITEM_CLOSED, e);
    return ERR_OK;
}

/* The product's price now, which the item keeps; `total` grows by the line. */
static enum err_code lock_product(struct db *db, const struct order_item_new *item,
                                  int64_t *ret_price, int64_t *total,
                                  enum order_item_refusal *ret_refusal, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(db, &statements[LOCK_PRODUCT],
                 DB_ARGS(DB_INT(item->order_id), DB_INT(item->product_id)), &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) == 0)
        return refuse(ret_refusal, ORDER_ITEM_NO_PRODUCT, e);
    if (db_bool(rows, 0, 2))
        return refuse(ret_refusal, ORDER_ITEM_PAYING, e);
    if (db_int(rows, 0, 3) >= ORDER_ITEMS_MAX)
        return refuse(ret_refusal, ORDER_ITEM_FULL, e);
    if (db_int(rows, 0, 1) < item->quantity)
        return refuse(ret_refusal, ORDER_ITEM_NO_STOCK, e);
    if (!money_parse(db_text(rows, 0, 0), ret_price))
        return err_set(e, ERR_PROTOCOL, "a price of the database is no amount");
    if (!money_add_line(*ret_price, item->quantity, total))
        return refuse(ret_refusal, ORDER_ITEM_TOTAL, e);
    return ERR_OK;
}

enum err_code order_items_add(struct db *db, const struct order_item_new *item, char **ret_json,
                              enum order_item_refusal *ret_refusal, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    char price_text[MONEY_TEXT_SIZE];
    char total_text[MONEY_TEXT_SIZE];
    int64_t price = 0;
    int64_t total = 0;
    enum err_code rc = lock_order(db, item, &total, ret_refusal, e);

    if (!rc)
        rc = lock_product(db, item, &price, &total, ret_refusal, e);
    if (rc)
        return rc;
    money_format(price, price_text);
    money_format(total, total_text);
    rc = db_query(db, &statements[ADD],
                  DB_ARGS(DB_INT(item->order_id), DB_INT(item->product_id), DB_INT(item->quantity),
                          DB_TEXT(price_text), DB_TEXT(total_text)),
                  &rows, e);
    if (!rc)
        *ret_json = mem_dup(db_text(rows, 0, 0));
    return rc;
}
