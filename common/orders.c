/* SPDX-License-Identifier: MIT
 *
 * Statements on orders, their items and the stock that they take; see orders.h. Arithmetic on money
 * is done here in minor units, and again by the trigger orders_total_check.
 */
#include "common/orders.h"

#include <inttypes.h>
#include <string.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/money.h"
#include "common/statements.h"

enum { LOCK, CREATE, EXISTING, LIST, COUNT, FIND, FIND_PAYABLE, ITEMS };
enum { ARRAY_MAX = ORDER_ITEMS_MAX * 24 };

#define ORDER                                                                                      \
    "id, user_id, order_status, total_amount, " SQL_TIME("created_at") " AS created, " SQL_TIME(   \
        "updated_at") " AS updated"

static const struct db_stmt statements[] = {
    /* The locks are taken in the order of the sort below them. */
    [LOCK] = {"orders_lock_products",
              "SELECT id, price, stock_quantity FROM products WHERE id = ANY ($1::bigint[])"
              " ORDER BY id FOR NO KEY UPDATE",
              1},
    [CREATE] = {"orders_create",
                "WITH wanted AS (SELECT * FROM unnest($3::bigint[], $4::int[], $5::numeric[])"
                "  WITH ORDINALITY AS w (product_id, quantity, price, place)),"
                " made AS (INSERT INTO orders (user_id, total_amount) VALUES ($1, $2)"
                "  RETURNING " ORDER "),"
                " lines AS (INSERT INTO order_items (order_id, product_id, quantity, price)"
                "  SELECT made.id, product_id, quantity, price FROM made, wanted ORDER BY place"
                "  RETURNING id, product_id, quantity, price),"
                " taken AS (UPDATE products p SET stock_quantity = stock_quantity - s.quantity"
                "  FROM (SELECT product_id, sum(quantity) AS quantity FROM wanted GROUP BY 1) s"
                "  WHERE p.id = s.product_id AND p.stock_quantity >= s.quantity RETURNING p.id)"
                " SELECT made.*, lines.*, (SELECT count(*) FROM taken) FROM made, lines"
                " ORDER BY lines.id",
                5},
    [EXISTING] = {"orders_existing_products",
                  "SELECT id FROM products WHERE id = ANY ($1::bigint[])", 1},
    [LIST] = {"orders_list",
              "SELECT " ORDER " FROM orders WHERE user_id = $1 ORDER BY id LIMIT $2 OFFSET $3", 3},
    [COUNT] = {"orders_count", "SELECT count(*) FROM orders WHERE user_id = $1", 1},
    [FIND] = {"orders_find", "SELECT " ORDER " FROM orders WHERE user_id = $1 AND id = $2", 2},
    [FIND_PAYABLE] = {"orders_find_payable",
                      "SELECT " ORDER " FROM orders WHERE user_id = $1 AND order_status IN"
                      " ('pending', 'payment_failed') ORDER BY id DESC LIMIT 1",
                      1},
    [ITEMS] = {"orders_items",
               "SELECT order_id, id, product_id, quantity, price FROM order_items"
               " WHERE order_id = ANY ($1::bigint[]) ORDER BY order_id, id",
               1},
};

DB_STATEMENTS(orders, statements);

void order_release(struct order *order)
{
    mem_free(order->status);
    mem_free(order->created_at);
    mem_free(order->updated_at);
    mem_free(order->items);
    *order = (struct order){0};
}

void orders_release(struct orders *orders)
{
    for (size_t i = 0; i < orders->count; i++)
        order_release(&orders->items[i]);
    mem_free(orders->items);
    *orders = (struct orders){0};
}

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

static enum err_code read_head(const struct db_result *rows, int row, struct order *order,
                               struct err *e)
{
    *order = (struct order){
        .id = db_int(rows, row, 0),
        .user_id = db_int(rows, row, 1),
        .status = mem_dup(db_text(rows, row, 2)),
        .created_at = mem_dup(db_text(rows, row, 4)),
        .updated_at = mem_dup(db_text(rows, row, 5)),
    };
    return read_money(db_text(rows, row, 3), &order->total, e);
}

/* An item whose columns (id, product, quantity, price) begin at `col`. */
static enum err_code read_item(const struct db_result *rows, int row, int col,
                               struct order_item *item, struct err *e)
{
    *item = (struct order_item){
        .id = db_int(rows, row, col),
        .product_id = db_int(rows, row, col + 1),
        .quantity = db_int(rows, row, col + 2),
    };
    return read_money(db_text(rows, row, col + 3), &item->price, e);
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
                            size_t count, struct order *ret_order,
                            struct order_refusal *ret_refusal, struct err *e)
{
    AUTO(db_result_free) struct db_result *products = NULL;
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(order_release) struct order order = {0};
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
    if ((size_t)db_rows(rows) != count || db_int(rows, 0, 10) != db_rows(products))
        return err_set(e, ERR_INTERNAL, "an order took other stock than it had locked");
    rc = read_head(rows, 0, &order, e);
    order.items_count = count;
    order.items = mem_array(count, sizeof order.items[0]);
    for (size_t i = 0; !rc && i < count; i++)
        rc = read_item(rows, (int)i, 6, &order.items[i], e);
    if (rc)
        return rc;
    *ret_order = order;
    order = (struct order){0};
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

/* ---- reading ---- */

/* Hands the items, which come sorted by order, out to their orders. */
static enum err_code give_items(const struct db_result *rows, struct orders *orders, struct err *e)
{
    int row = 0;

    for (size_t i = 0; i < orders->count; i++) {
        struct order *order = &orders->items[i];
        int first = row;

        while (row < db_rows(rows) && db_int(rows, row, 0) == order->id)
            row++;
        order->items_count = (size_t)(row - first);
        order->items = mem_array(order->items_count + 1, sizeof order->items[0]);
        for (int k = first; k < row; k++) {
            enum err_code rc = read_item(rows, k, 1, &order->items[k - first], e);

            if (rc)
                return rc;
        }
    }
    return ERR_OK;
}

/* Reads the orders of `heads`, which come by id, and their items. */
static enum err_code read_orders(struct db *db, const struct db_result *heads,
                                 struct orders *ret_orders, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(orders_release) struct orders list = {0};
    AUTO_VALUE(buf_release) struct buf ids;
    enum err_code rc = ERR_OK;

    buf_init(&ids, 64 * 1024);
    list.items = mem_array((size_t)db_rows(heads) + 1, sizeof list.items[0]);
    for (; !rc && list.count < (size_t)db_rows(heads); list.count++) {
        rc = read_head(heads, (int)list.count, &list.items[list.count], e);
        add_int(&ids, db_int(heads, (int)list.count, 0));
    }
    db_array_end(&ids);
    if (!rc && ids.overflow)
        rc = err_set(e, ERR_INTERNAL, "too many orders at once");
    if (!rc && list.count > 0)
        rc = db_query(db, &statements[ITEMS], DB_ARGS(DB_TEXT(ids.data)), &rows, e);
    if (!rc && list.count > 0)
        rc = give_items(rows, &list, e);
    if (rc)
        return rc;
    *ret_orders = list;
    list = (struct orders){0};
    return ERR_OK;
}

enum err_code orders_list(struct db *db, int64_t user_id, int64_t limit, int64_t offset,
                          struct orders *ret_orders, int64_t *ret_total, struct err *e)
{
    AUTO(db_result_free) struct db_result *total = NULL;
    AUTO(db_result_free) struct db_result *heads = NULL;
    enum err_code rc = db_query(db, &statements[COUNT], DB_ARGS(DB_INT(user_id)), &total, e);

    if (!rc)
        rc = db_query(db, &statements[LIST],
                      DB_ARGS(DB_INT(user_id), DB_INT(limit), DB_INT(offset)), &heads, e);
    if (!rc)
        rc = read_orders(db, heads, ret_orders, e);
    if (!rc)
        *ret_total = db_int(total, 0, 0);
    return rc;
}

static enum err_code find_one(struct db *db, const struct db_stmt *stmt, struct db_args args,
                              struct order *ret_order, struct err *e)
{
    AUTO(db_result_free) struct db_result *heads = NULL;
    AUTO_VALUE(orders_release) struct orders list = {0};
    enum err_code rc = db_query(db, stmt, args, &heads, e);

    if (!rc && db_rows(heads) == 0)
        rc = err_set(e, ERR_NOT_FOUND, "there is no such order");
    if (!rc)
        rc = read_orders(db, heads, &list, e);
    if (rc)
        return rc;
    *ret_order = list.items[0];
    list.items[0] = (struct order){0};
    return ERR_OK;
}

enum err_code orders_find(struct db *db, int64_t user_id, int64_t id, struct order *ret_order,
                          struct err *e)
{
    return find_one(db, &statements[FIND], DB_ARGS(DB_INT(user_id), DB_INT(id)), ret_order, e);
}

enum err_code orders_find_payable(struct db *db, int64_t user_id, struct order *ret_order,
                                  struct err *e)
{
    return find_one(db, &statements[FIND_PAYABLE], DB_ARGS(DB_INT(user_id)), ret_order, e);
}
