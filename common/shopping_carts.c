/* SPDX-License-Identifier: MIT
 *
 * Statements on shopping carts and their items. An item belongs to whom its cart belongs.
 */
#include "common/shop.h"
#include "common/statements.h"

#define COLUMNS "c.id, " SQL_CREATED("c") ", " SQL_UPDATED("c") ", c.user_id"
#define MINE "shopping_carts c WHERE c.user_id = $1"
#define ITEM "i.id, i.cart_id, i.quantity, " SQL_CREATED("i") ", " SQL_UPDATED("i") ", i.product_id"
#define MY_ITEMS "cart_items i JOIN shopping_carts c ON c.id = i.cart_id WHERE c.user_id = $1"
/* $4 cart, $5 product */
#define LISTED_ITEMS                                                                               \
    MY_ITEMS " AND ($4::bigint IS NULL OR i.cart_id = $4)"                                         \
             " AND ($5::bigint IS NULL OR i.product_id = $5)"

enum {
    BY_ID,
    BY_ID_DOWN,
    FIND,
    ADD,
    CHANGE,
    REMOVE,
    HOLD,
    ITEMS_BY_ID,
    ITEMS_BY_ID_DOWN,
    FIND_ITEM,
    ADD_ITEM,
    CHANGE_ITEM,
    REMOVE_ITEM,
    HOLD_ITEM,
    CHECK_ITEM,
};

static const struct db_stmt statements[] = {
    [BY_ID] = {"shopping_carts_by_id", SQL_PAGE(COLUMNS, MINE, "c.id"), 3},
    [BY_ID_DOWN] = {"shopping_carts_by_id_down", SQL_PAGE(COLUMNS, MINE, "c.id DESC"), 3},
    [FIND] = {"shopping_carts_find", SQL_ROW(COLUMNS, MINE " AND c.id = $2"), 2},
    [ADD] = {"shopping_carts_add",
             SQL_ROW_OF("INSERT INTO shopping_carts AS c (user_id) VALUES ($1)", COLUMNS), 1},
    [CHANGE] = {"shopping_carts_change",
                SQL_ROW_OF("UPDATE shopping_carts c SET updated_at = now()"
                           " WHERE c.user_id = $1 AND c.id = $2",
                           COLUMNS),
                2},
    [REMOVE] = {"shopping_carts_remove",
                "DELETE FROM shopping_carts WHERE user_id = $1 AND id = $2", 2},
    [HOLD] =
        {"shopping_carts_hold",
         "SELECT true FROM shopping_carts c WHERE c.user_id = $1 AND c.id = $2 FOR UPDATE OF c", 2},
    [ITEMS_BY_ID] = {"cart_items_by_id", SQL_PAGE(ITEM, LISTED_ITEMS, "i.id"), 5},
    [ITEMS_BY_ID_DOWN] = {"cart_items_by_id_down", SQL_PAGE(ITEM, LISTED_ITEMS, "i.id DESC"), 5},
    [FIND_ITEM] = {"cart_items_find", SQL_ROW(ITEM, MY_ITEMS " AND i.id = $2"), 2},
    [ADD_ITEM] = {"cart_items_add",
                  SQL_ROW_OF("INSERT INTO cart_items AS i (cart_id, product_id, quantity)"
                             " SELECT c.id, $3::bigint, coalesce($4::int, 1) FROM shopping_carts c"
                             " WHERE c.user_id = $1 AND c.id = $2",
                             ITEM),
                  4},
    [CHANGE_ITEM] = {"cart_items_change",
                     SQL_ROW_OF("UPDATE cart_items i SET cart_id = coalesce($3, i.cart_id),"
                                " product_id = coalesce($4, i.product_id),"
                                " quantity = coalesce($5, i.quantity) FROM shopping_carts c"
                                " WHERE i.id = $2 AND c.id = i.cart_id AND c.user_id = $1"
                                " AND ($3::bigint IS NULL OR EXISTS (SELECT FROM shopping_carts n"
                                "  WHERE n.id = $3 AND n.user_id = $1))",
                                ITEM),
                     5},
    [REMOVE_ITEM] = {"cart_items_remove",
                     "DELETE FROM cart_items i USING shopping_carts c"
                     " WHERE c.id = i.cart_id AND c.user_id = $1 AND i.id = $2",
                     2},
    [HOLD_ITEM] = {"cart_items_hold",
                   "SELECT true FROM cart_items i JOIN shopping_carts c ON c.id = i.cart_id"
                   " WHERE c.user_id = $1 AND i.id = $2 FOR UPDATE OF i",
                   2},
    [CHECK_ITEM] = {"cart_items_check",
                    "SELECT EXISTS (SELECT FROM shopping_carts WHERE user_id = $1 AND id = $2),"
                    " EXISTS (SELECT FROM products WHERE id = $3)",
                    3},
};

DB_STATEMENTS(shopping_carts, statements);

static const struct resource_order lists[] = {
    {"id", &statements[BY_ID]},
    {"-id", &statements[BY_ID_DOWN]},
    {NULL, NULL},
};

const struct resource_sql shopping_carts_sql = {
    .lists = lists,
    .find = &statements[FIND],
    .add = &statements[ADD],
    .change = &statements[CHANGE],
    .remove = &statements[REMOVE],
    .hold = &statements[HOLD],
};

static const struct resource_order item_lists[] = {
    {"id", &statements[ITEMS_BY_ID]},
    {"-id", &statements[ITEMS_BY_ID_DOWN]},
    {NULL, NULL},
};

const struct resource_sql cart_items_sql = {
    .lists = item_lists,
    .find = &statements[FIND_ITEM],
    .add = &statements[ADD_ITEM],
    .change = &statements[CHANGE_ITEM],
    .remove = &statements[REMOVE_ITEM],
    .hold = &statements[HOLD_ITEM],
    .check = &statements[CHECK_ITEM],
};
