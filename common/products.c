/* SPDX-License-Identifier: MIT
 *
 * Statements on products and their ratings. Staff writes the stock here; orders take from it and
 * give back to it in orders.c alone.
 */
#include "common/catalogue.h"
#include "common/shop.h"
#include "common/statements.h"

#define COLUMNS                                                                                    \
    "p.id, p.name, p.description, p.price::text, p.stock_quantity, " SQL_CREATED(                  \
        "p") ", " SQL_UPDATED("p") ", p.category_id"
/* $4 category, $5 lowest and $6 highest price, $7 part of the name, $8 whether in stock */
#define FILTERS                                                                                    \
    " WHERE " SQL_ANY_USER " AND ($4::bigint IS NULL OR p.category_id = $4)"                       \
    " AND ($5::numeric IS NULL OR p.price >= $5) AND ($6::numeric IS NULL OR p.price <= $6)"       \
    " AND ($7::text IS NULL OR strpos(lower(p.name), lower($7)) > 0)"                              \
    " AND ($8::boolean IS NULL OR (p.stock_quantity > 0) = $8)"
/* Each with what it is kept by (api/cache.h). */
#define SHOWN                                                                                      \
    "(SELECT row_to_json(t)::text FROM (SELECT " COLUMNS                                           \
    ") t) AS shown, " SQL_ROW_VERSION("p") " AS version"
#define PAGE(from, order)                                                                          \
    "SELECT (SELECT count(*) FROM " from                                                           \
    "), '[' || coalesce(string_agg(s.shown, ','), '') || ']',"                                     \
    " coalesce(string_agg(s.version, ','), '') FROM (SELECT " SHOWN " FROM " from                  \
    " ORDER BY " order " LIMIT $2 OFFSET $3) s"
#define LIST(order) PAGE("products p" FILTERS, order), 8
#define RATED(order)                                                                               \
    PAGE("products p LEFT JOIN product_ratings r ON r.product_id = p.id" FILTERS, order), 8

enum {
    BY_ID,
    BY_ID_DOWN,
    BY_NAME,
    BY_NAME_DOWN,
    BY_PRICE,
    BY_PRICE_DOWN,
    BY_TIME,
    BY_TIME_DOWN,
    BY_RATING,
    BY_RATING_DOWN,
    FIND,
    ADD,
    CHANGE,
    REMOVE,
    HOLD,
    CHECK,
    FIND_RATING,
};

static const struct db_stmt statements[] = {
    [BY_ID] = {"products_by_id", LIST("p.id")},
    [BY_ID_DOWN] = {"products_by_id_down", LIST("p.id DESC")},
    [BY_NAME] = {"products_by_name", LIST("p.name, p.id")},
    [BY_NAME_DOWN] = {"products_by_name_down", LIST("p.name DESC, p.id DESC")},
    [BY_PRICE] = {"products_by_price", LIST("p.price, p.id")},
    [BY_PRICE_DOWN] = {"products_by_price_down", LIST("p.price DESC, p.id DESC")},
    [BY_TIME] = {"products_by_time", LIST("p.created_at, p.id")},
    [BY_TIME_DOWN] = {"products_by_time_down", LIST("p.created_at DESC, p.id DESC")},
    [BY_RATING] = {"products_by_rating", RATED("r.rating NULLS FIRST, p.id")},
    [BY_RATING_DOWN] = {"products_by_rating_down", RATED("r.rating DESC NULLS LAST, p.id")},
    [FIND] = {"products_find",
              "SELECT " SHOWN " FROM products p WHERE " SQL_ANY_USER " AND p.id = $2", 2},
    [ADD] = {"products_add",
             SQL_ROW_OF("INSERT INTO products AS p"
                        " (name, description, price, stock_quantity, category_id)"
                        " SELECT $2::text, coalesce($3, 'No description'), $4::numeric,"
                        " coalesce($5::int, 0), $6::bigint WHERE " SQL_ANY_USER,
                        COLUMNS),
             6},
    [CHANGE] = {"products_change",
                SQL_ROW_OF("UPDATE products p SET name = coalesce($3, p.name),"
                           " description = coalesce($4, p.description),"
                           " price = coalesce($5, p.price),"
                           " stock_quantity = coalesce($6, p.stock_quantity),"
                           " category_id = coalesce($7, p.category_id)"
                           " WHERE " SQL_ANY_USER " AND p.id = $2",
                           COLUMNS),
                7},
    [REMOVE] = {"products_remove", "DELETE FROM products WHERE " SQL_ANY_USER " AND id = $2", 2},
    [HOLD] = {"products_hold",
              "SELECT true FROM products p WHERE " SQL_ANY_USER " AND p.id = $2 FOR UPDATE OF p",
              2},
    [CHECK] = {"products_check",
               "SELECT EXISTS (SELECT FROM categories WHERE " SQL_ANY_USER " AND id = $2)", 2},
    [FIND_RATING] = {"products_find_rating",
                     SQL_ROW(
                         "p.id AS product_id, r.rating::text, coalesce(r.reviews, 0) AS reviews",
                         "products p LEFT JOIN product_ratings r ON r.product_id = p.id"
                         " WHERE " SQL_ANY_USER " AND p.id = $2"),
                     2},
};

DB_STATEMENTS(products, statements);

static const struct resource_order lists[] = {
    {"id", &statements[BY_ID]},
    {"-id", &statements[BY_ID_DOWN]},
    {"name", &statements[BY_NAME]},
    {"-name", &statements[BY_NAME_DOWN]},
    {"price", &statements[BY_PRICE]},
    {"-price", &statements[BY_PRICE_DOWN]},
    {"created_at", &statements[BY_TIME]},
    {"-created_at", &statements[BY_TIME_DOWN]},
    {"rating", &statements[BY_RATING]},
    {"-rating", &statements[BY_RATING_DOWN]},
    {NULL, NULL},
};

const struct resource_sql products_sql = {
    .lists = lists,
    .find = &statements[FIND],
    .add = &statements[ADD],
    .change = &statements[CHANGE],
    .remove = &statements[REMOVE],
    .hold = &statements[HOLD],
    .check = &statements[CHECK],
};

const struct resource_sql product_ratings_sql = {.find = &statements[FIND_RATING]};
