/* SPDX-License-Identifier: MIT
 *
 * Statements on wishlists and their items. An item belongs to whom its wishlist belongs, and a
 * product stands in a wishlist once.
 */
#include "common/shop.h"
#include "common/statements.h"

#define COLUMNS "w.id, " SQL_CREATED("w") ", " SQL_UPDATED("w") ", w.user_id"
#define MINE "wishlists w WHERE w.user_id = $1"
#define ITEM "i.id, i.wishlist_id, " SQL_CREATED("i") ", i.product_id"
#define MY_ITEMS "wishlist_items i JOIN wishlists w ON w.id = i.wishlist_id WHERE w.user_id = $1"
/* $4 wishlist, $5 product */
#define LISTED_ITEMS                                                                               \
    MY_ITEMS " AND ($4::bigint IS NULL OR i.wishlist_id = $4)"                                     \
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
    [BY_ID] = {"wishlists_by_id", SQL_PAGE(COLUMNS, MINE, "w.id"), 3},
    [BY_ID_DOWN] = {"wishlists_by_id_down", SQL_PAGE(COLUMNS, MINE, "w.id DESC"), 3},
    [FIND] = {"wishlists_find", SQL_ROW(COLUMNS, MINE " AND w.id = $2"), 2},
    [ADD] = {"wishlists_add",
             SQL_ROW_OF("INSERT INTO wishlists AS w (user_id) VALUES ($1)", COLUMNS), 1},
    [CHANGE] = {"wishlists_change",
                SQL_ROW_OF("UPDATE wishlists w SET updated_at = now()"
                           " WHERE w.user_id = $1 AND w.id = $2",
                           COLUMNS),
                2},
    [REMOVE] = {"wishlists_remove", "DELETE FROM wishlists WHERE user_id = $1 AND id = $2", 2},
    [HOLD] = {"wishlists_hold",
              "SELECT true FROM wishlists w WHERE w.user_id = $1 AND w.id = $2 FOR UPDATE OF w", 2},
    [ITEMS_BY_ID] = {"wishlist_items_by_id", SQL_PAGE(ITEM, LISTED_ITEMS, "i.id"), 5},
    [ITEMS_BY_ID_DOWN] = {"wishlist_items_by_id_down", SQL_PAGE(ITEM, LISTED_ITEMS, "i.id DESC"),
                          5},
    [FIND_ITEM] = {"wishlist_items_find", SQL_ROW(ITEM, MY_ITEMS " AND i.id = $2"), 2},
    [ADD_ITEM] = {"wishlist_items_add",
                  SQL_ROW_OF("INSERT INTO wishlist_items AS i (wishlist_id, product_id)"
                             " SELECT w.id, $3::bigint FROM wishlists w"
                             " WHERE w.user_id = $1 AND w.id = $2",
                             ITEM),
                  3},
    [CHANGE_ITEM] = {"wishlist_items_change",
                     SQL_ROW_OF("UPDATE wishlist_items i SET"
                                " wishlist_id = coalesce($3, i.wishlist_id),"
                                " product_id = coalesce($4, i.product_id) FROM wishlists w"
                                " WHERE i.id = $2 AND w.id = i.wishlist_id AND w.user_id = $1"
                                " AND ($3::bigint IS NULL OR EXISTS (SELECT FROM wishlists n"
                                "  WHERE n.id = $3 AND n.user_id = $1))",
                                ITEM),
                     4},
    [REMOVE_ITEM] = {"wishlist_items_remove",
                     "DELETE FROM wishlist_items i USING wishlists w"
                     " WHERE w.id = i.wishlist_id AND w.user_id = $1 AND i.id = $2",
                     2},
    [HOLD_ITEM] = {"wishlist_items_hold",
                   "SELECT true FROM wishlist_items i JOIN wishlists w ON w.id = i.wishlist_id"
                   " WHERE w.user_id = $1 AND i.id = $2 FOR UPDATE OF i",
                   2},
    [CHECK_ITEM] = {"wishlist_items_check",
                    "SELECT EXISTS (SELECT FROM wishlists WHERE user_id = $1 AND id = $2),"
                    " EXISTS (SELECT FROM products WHERE id = $3)",
                    3},
};

DB_STATEMENTS(wishlists, statements);

static const struct resource_order lists[] = {
    {"id", &statements[BY_ID]},
    {"-id", &statements[BY_ID_DOWN]},
    {NULL, NULL},
};

const struct resource_sql wishlists_sql = {
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

const struct resource_sql wishlist_items_sql = {
    .lists = item_lists,
    .find = &statements[FIND_ITEM],
    .add = &statements[ADD_ITEM],
    .change = &statements[CHANGE_ITEM],
    .remove = &statements[REMOVE_ITEM],
    .hold = &statements[HOLD_ITEM],
    .check = &statements[CHECK_ITEM],
};
