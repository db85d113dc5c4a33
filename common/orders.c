/* SPDX-License-Identifier: MIT
 *
 * Statements on orders, their items and the stock that they take; see orders.h. Arithmetic on money
 * is done here in minor units, and again by the trigger orders_total_check.
 */
#include "common/orders.h"

#include <inttypes.h>
#include <string.h>

#include "common/buf.h"
#include "common/crashpoint.h"
#include "common/mem.h"
#include "common/money.h"
#include "common/shop.h"
#include "common/statements.h"

enum {
    LOCK,
    CREATE,
    EXISTING,
    BY_ID,
    BY_ID_DOWN,
    FIND,
    FIND_PAYABLE,
    FIND_PLACED,
    CART_LOCK,
    CART_PRODUCTS,
    CART_TAKE,
    CANCEL,
    STATE,
    LOCK_ANY,
    SUCCEEDED,
};
enum { ARRAY_MAX = ORDER_ITEMS_MAX * 24 };

#define ITEM "i.id, i.product_id, i.quantity, i.price::text"
/* The items of `from` as one JSON array without blanks. */
#define ITEMS(from)                                                                                \
    "('[' || coalesce((SELECT string_agg(row_to_json(t)::text, ',' ORDER BY t.id)"                 \
    " FROM (SELECT " ITEM " FROM " from ") t), '') || ']')::json AS items"
#define ORDER(items)                                                                               \
    "o.id, " items ", o.order_status, o.total_amount::text, " SQL_CREATED("o") ", " SQL_UPDATED(   \
        "o") ", o.user_id"
#define STORED ORDER(ITEMS("order_items i WHERE i.order_id = o.id"))
/* $4 status, $5 lowest and $6 highest total */
#define LISTED                                                                                     \
    "orders o WHERE o.user_id = $1 AND ($4::text IS NULL OR o.order_status = $4)"                  \
    " AND ($5::numeric IS NULL OR o.total_amount >= $5)"                                           \
    " AND ($6::numeric IS NULL OR o.total_amount <= $6)"

static const struct db_stmt statements[] = {
    /* The locks are taken in the order of the sort below them. */
    [LOCK] = {"orders_lock_products",
              "SELECT id, price, stock_quantity FROM products WHERE id = ANY ($1::bigint[])"
              " ORDER BY id FOR NO KEY UPDATE",
              1},
    [CREATE] = {"orders_create",
                "WITH wanted AS (SELECT * FROM unnest($3::bigint[], $4::int[], $5::numeric[])"
                "  WITH ORDINALITY AS w (product_id, quantity, price, place)),"
                " o AS (INSERT INTO orders (user_id, total_amount) VALUES ($1, $2) RETURNING *),"
                " i AS (INSERT INTO order_items (order_id, product_id, quantity, price)"
                "  SELECT o.id, product_id, quantity, price FROM o, wanted ORDER BY place"
                "  RETURNING id, product_id, quantity, price),"
                " taken AS (UPDATE products p SET stock_quantity = stock_quantity - s.quantity"
                "  FROM (SELECT product_id, sum(quantity) AS quantity FROM wanted GROUP BY 1) s"
                "  WHERE p.id = s.product_id AND p.stock_quantity >= s.quantity RETURNING p.id),"
                " made AS (SELECT " ORDER(
                    ITEMS("i")) " FROM o)"
                                " SELECT row_to_json(made)::text, (SELECT count(*) FROM i),"
                                " (SELECT count(*) FROM taken) FROM made",
                5},
    [EXISTING] = {"orders_existing_products",
                  "SELECT id FROM products WHERE id = ANY ($1::bigint[])", 1},
    [BY_ID] = {"orders_by_id", SQL_PAGE(STORED, LISTED, "o.id"), 6},
    [BY_ID_DOWN] = {"orders_by_id_down", SQL_PAGE(STORED, LISTED, "o.id DESC"), 6},
    [FIND] = {"orders_find", SQL_ROW(STORED, "orders o WHERE o.user_id = $1 AND o.id = $2"), 2},
    [FIND_PAYABLE] = {"orders_find_payable",
                      SQL_ROW(STORED, "orders o WHERE o.user_id = $1 AND o.order_status IN"
                                      " ('pending', 'payment_failed') ORDER BY o.id DESC LIMIT 1"),
                      1},
    [FIND_PLACED] = {"orders_find_placed",
                     SQL_ROW(STORED, "orders o WHERE o.id = (SELECT p.order_id FROM payments p"
                                     " JOIN orders m ON m.id = p.order_id WHERE m.user_id = $1"
                                     " AND p.status <> 'failed'"
                                     " ORDER BY p.created_at DESC, p.id DESC LIMIT 1)"),
                     1},
    [CART_LOCK] = {"orders_lock_cart",
                   "SELECT id FROM shopping_carts WHERE user_id = $1 AND id = $2 FOR UPDATE", 2},
    /* Before the items: who removes a product locks it first, and then what stands in carts. */
    [CART_PRODUCTS] = {"orders_lock_cart_products",
                       "SELECT id FROM products WHERE id IN"
                       " (SELECT product_id FROM cart_items WHERE cart_id = $1)"
                       " ORDER BY id FOR NO KEY UPDATE",
                       1},
    /* In one statement: what is ordered is what is removed. A customer who changes or removes an
     * item at the same time is either in the order, or is told that the item is gone. */
    [CART_TAKE] = {"orders_take_cart",
                   "WITH taken AS (DELETE FROM cart_items WHERE cart_id = $1"
                   "  RETURNING id, product_id, quantity)"
                   " SELECT product_id, sum(quantity) FROM taken"
                   " GROUP BY product_id ORDER BY min(id) LIMIT $2",
                   2},
    [CANCEL] = {"orders_cancel",
                "WITH cancelled AS (UPDATE orders SET order_status = 'cancelled'"
                "  WHERE user_id = $1 AND id = $2 AND order_status IN ('pending', 'payment_failed')"
                "  RETURNING id)"
                " SELECT give_stock_back(id) FROM cancelled",
                2},
    [STATE] = {"orders_state", "SELECT order_status FROM orders WHERE user_id = $1 AND id = $2", 2},
    [LOCK_ANY] = {"orders_lock_any",
                  "SELECT order_status FROM orders WHERE id = $1 FOR NO KEY UPDATE", 1},
    /* After the lock: what paid the order while we waited for it is seen. */
    [SUCCEEDED] = {"orders_succeeded_payment",
                   "SELECT id FROM payments WHERE order_id = $1 AND status = 'succeeded'", 1},
};

DB_STATEMENTS(orders, statements);

static const struct resource_order lists[] = {
    {"id", &statements[BY_ID]},
    {"-id", &statements[BY_ID_DOWN]},
    {"created_at", &statements[BY_ID]},
    {"-created_at", &statements[BY_ID_DOWN]},
    {NULL, NULL},
};

const struct resource_sql orders_sql = {.lists = lists, .find = &statements[FIND]};

static void add_int(struct buf *array, int64_t value)
{
    buf_addf(array, "%s%" PRId64, array->len ? "," : "{", value);
}

static enum err_code read_money(const char *text, int64_t *ret, struct err *e)
{
    if (!money_parse(text, ret))
        return err_set(e, ERR_PROTOCOL, "an amount of the database is none");
    return ERR_OK;
}

/* ---- making ---- */

/* Locks the products of the lines; *ret_rows are (id, price, stock), by id. */
static enum err_code lock_products(struct db *db, const struct db_stmt *stmt,
                                   const struct order_line *lines, size_t count,
                                   struct db_result **ret_rows, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf ids;

    buf_init(&ids, ARRAY_MAX);
    for (size_t i = 0; i < count; i++)
        add_int(&ids, lines[i].product_id);
    db_array_end(&ids);
    return db_query(db, stmt, DB_ARGS(DB_TEXT(ids.data)), ret_rows, e);
}

static int find_product(const struct db_result *rows, int64_t id)
{
    for (int row = 0; row < db_rows(rows); row++)
        if (db_int(rows, row, 0) == id)
            return row;
    return -1;
}

static enum err_code refuse(struct order_refusal *ret, int reason, size_t at, struct err *e)
{
    static const char *const texts[] = {"a product does not exist", "not enough stock",
                                        "the total is too large"};

    ret->reason = reason;
    ret->at = at;
    return err_set(e, ERR_CONFLICT, "%s", texts[reason]);
}

/* Prices the lines by the locked products. Pure: the decision whether the order can be. */
static enum err_code price_lines(const struct db_result *rows, const struct order_line *lines,
                                 size_t count, int64_t *prices, int64_t *ret_total,
                                 struct order_refusal *ret_refusal, struct err *e)
{
    int64_t taken[ORDER_ITEMS_MAX] = {0}; /* by row */
    int64_t total = 0;

    for (size_t i = 0; i < count; i++) {
        int row = find_product(rows, lines[i].product_id);

        if (row < 0)
            return refuse(ret_refusal, ORDER_REFUSED_UNKNOWN, i, e);
        taken[row] += lines[i].quantity;
        if (taken[row] > db_int(rows, row, 2))
            return refuse(ret_refusal, ORDER_REFUSED_STOCK, i, e);
        if (read_money(db_text(rows, row, 1), &prices[i], e))
            return ERR_PROTOCOL;
        if (!money_add_line(prices[i], lines[i].quantity, &total))
            return refuse(ret_refusal, ORDER_REFUSED_TOTAL, i, e);
    }
    *ret_total = total;
    return ERR_OK;
}

static enum err_code insert(struct db *db, int64_t user_id, const struct order_line *lines,
                            const int64_t *prices, size_t count, int64_t total,
                            struct db_result **ret_rows, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf products;
    AUTO_VALUE(buf_release) struct buf quantities;
    AUTO_VALUE(buf_release) struct buf amounts;
    char text[MONEY_TEXT_SIZE];

    buf_init(&products, ARRAY_MAX);
    buf_init(&quantities, ARRAY_MAX);
    buf_init(&amounts, ARRAY_MAX);
    for (size_t i = 0; i < count; i++) {
        add_int(&products, lines[i].product_id);
        add_int(&quantities, lines[i].quantity);
        money_format(prices[i], text);
        buf_addf(&amounts, "%s%s", i ? "," : "{", text);
    }
    db_array_end(&products);
    db_array_end(&quantities);
    db_array_end(&amounts);
    money_format(total, text);
    return db_query(db, &statements[CREATE],
                    DB_ARGS(DB_INT(user_id), DB_TEXT(text), DB_TEXT(products.data),
                            DB_TEXT(quantities.data), DB_TEXT(amounts.data)),
                    ret_rows, e);
}

enum err_code orders_create(struct db *db, int64_t user_id, const struct order_line *lines,
                            size_t count, char **ret_json, struct order_refusal *ret_refusal,
                            struct err *e)
{
    AUTO(db_result_free) struct db_result *products = NULL;
    AUTO(db_result_free) struct db_result *rows = NULL;
    int64_t prices[ORDER_ITEMS_MAX];
    int64_t total = 0;
    enum err_code rc;

    if (count == 0 || count > ORDER_ITEMS_MAX)
        return err_set(e, ERR_INVALID, "an order has 1 to %d items", ORDER_ITEMS_MAX);
    rc = lock_products(db, &statements[LOCK], lines, count, &products, e);
    if (!rc)
        rc = price_lines(products, lines, count, prices, &total, ret_refusal, e);
    if (!rc)
        rc = insert(db, user_id, lines, prices, count, total, &rows, e);
    if (rc)
        return rc;
    if (db_int(rows, 0, 1) != (int64_t)count || db_int(rows, 0, 2) != db_rows(products))
        return err_set(e, ERR_INTERNAL, "an order took other stock than it had locked");
    CRASH_POINT("order.stock_taken");
    *ret_json = mem_dup(db_text(rows, 0, 0));
    return ERR_OK;
}

enum err_code orders_check_products(struct db *db, const struct order_line *lines, size_t count,
                                    bool *exists, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = lock_products(db, &statements[EXISTING], lines, count, &rows, e);

    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++)
        exists[i] = find_product(rows, lines[i].product_id) >= 0;
    return ERR_OK;
}

/* ---- from a cart ---- */

enum err_code orders_take_cart(struct db *db, int64_t user_id, int64_t cart_id,
                               struct order_line *lines, size_t *ret_count, struct err *e)
{
    AUTO(db_result_free) struct db_result *cart = NULL;
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(db, &statements[CART_LOCK], DB_ARGS(DB_INT(user_id), DB_INT(cart_id)), &cart, e);

    if (!rc && db_rows(cart) == 0)
        rc = err_set(e, ERR_NOT_FOUND, "there is no such cart");
    if (!rc)
        rc = db_exec(db, &statements[CART_PRODUCTS], DB_ARGS(DB_INT(cart_id)), NULL, e);
    if (!rc)
        rc = db_query(db, &statements[CART_TAKE],
                      DB_ARGS(DB_INT(cart_id), DB_INT(ORDER_ITEMS_MAX + 1)), &rows, e);
    if (rc)
        return rc;
    for (int i = 0; i < db_rows(rows) && i < ORDER_ITEMS_MAX; i++)
        lines[i] = (struct order_line){db_int(rows, i, 0), db_int(rows, i, 1)};
    *ret_count = (size_t)db_rows(rows);
    return ERR_OK;
}

/* ---- reading ---- */

static enum err_code find_newest(struct db *db, const struct db_stmt *stmt, int64_t user_id,
                                 struct db_result **ret_rows, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, stmt, DB_ARGS(DB_INT(user_id)), &rows, e);

    if (!rc && db_rows(rows) == 0)
        rc = err_set(e, ERR_NOT_FOUND, "there is no such order");
    if (!rc)
        *ret_rows = TAKE(rows);
    return rc;
}

enum err_code orders_find_payable(struct db *db, int64_t user_id, struct db_result **ret_rows,
                                  struct err *e)
{
    return find_newest(db, &statements[FIND_PAYABLE], user_id, ret_rows, e);
}

enum err_code orders_find_placed(struct db *db, int64_t user_id, struct db_result **ret_rows,
                                 struct err *e)
{
    return find_newest(db, &statements[FIND_PLACED], user_id, ret_rows, e);
}

/* ---- ending ---- */

enum err_code orders_cancel(struct db *db, int64_t user_id, int64_t id, bool *ret_cancelled,
                            struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(db, &statements[CANCEL], DB_ARGS(DB_INT(user_id), DB_INT(id)), &rows, e);

    if (!rc)
        *ret_cancelled = db_rows(rows) > 0;
    return rc;
}

static enum err_code read_state(const struct db_result *rows, enum order_state *ret_state,
                                struct err *e)
{
    if (db_rows(rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no such order");
    if (!order_state_parse(db_text(rows, 0, 0), ret_state))
        return err_set(e, ERR_PROTOCOL, "the order is in an unknown state");
    return ERR_OK;
}

enum err_code orders_read_state(struct db *db, int64_t user_id, int64_t id,
                                enum order_state *ret_state, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(db, &statements[STATE], DB_ARGS(DB_INT(user_id), DB_INT(id)), &rows, e);

    return rc ? rc : read_state(rows, ret_state, e);
}

enum err_code orders_find_refundable(struct db *db, int64_t id, enum order_state *ret_state,
                                     struct uuid *ret_payment, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO(db_result_free) struct db_result *payment = NULL;
    enum err_code rc = db_query(db, &statements[LOCK_ANY], DB_ARGS(DB_INT(id)), &rows, e);

    if (!rc)
        rc = read_state(rows, ret_state, e);
    if (rc || *ret_state != ORDER_PAID)
        return rc;
    rc = db_query(db, &statements[SUCCEEDED], DB_ARGS(DB_INT(id)), &payment, e);
    if (!rc && (db_rows(payment) == 0 || !uuid_parse(db_text(payment, 0, 0), ret_payment)))
        rc = err_set(e, ERR_INTERNAL, "a paid order has no payment that succeeded");
    return rc;
}
