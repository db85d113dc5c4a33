/* SPDX-License-Identifier: MIT
 *
 * Statements on reviews: everybody reads all of them, the author changes and removes. What they
 * come to for a product is the view product_ratings.
 */
#include "common/shop.h"
#include "common/statements.h"

#define COLUMNS                                                                                    \
    "r.id, r.rating::text, r.comment, " SQL_CREATED("r") ", " SQL_UPDATED(                         \
        "r") ", r.product_id, r.user_id"
/* $4 product, $5 author, $6 lowest rating */
#define LISTED                                                                                     \
    "reviews r WHERE " SQL_ANY_USER " AND ($4::bigint IS NULL OR r.product_id = $4)"               \
    " AND ($5::bigint IS NULL OR r.user_id = $5) AND ($6::numeric IS NULL OR r.rating >= $6)"
#define LIST(order) SQL_PAGE(COLUMNS, LISTED, order), 6

enum { BY_ID, BY_ID_DOWN, BY_RATING, BY_RATING_DOWN, FIND, ADD, CHANGE, REMOVE, HOLD, CHECK };

static const struct db_stmt statements[] = {
    [BY_ID] = {"reviews_by_id", LIST("r.id")},
    [BY_ID_DOWN] = {"reviews_by_id_down", LIST("r.id DESC")},
    [BY_RATING] = {"reviews_by_rating", LIST("r.rating, r.id")},
    [BY_RATING_DOWN] = {"reviews_by_rating_down", LIST("r.rating DESC, r.id DESC")},
    [FIND] = {"reviews_find", SQL_ROW(COLUMNS, "reviews r WHERE " SQL_ANY_USER " AND r.id = $2"),
              2},
    [ADD] = {"reviews_add",
             SQL_ROW_OF("INSERT INTO reviews AS r (user_id, rating, comment, product_id)"
                        " VALUES ($1, $2, $3, $4)",
                        COLUMNS),
             4},
    [CHANGE] = {"reviews_change",
                SQL_ROW_OF("UPDATE reviews r SET rating = coalesce($3, r.rating),"
                           " comment = coalesce($4, r.comment),"
                           " product_id = coalesce($5, r.product_id)"
                           " WHERE r.user_id = $1 AND r.id = $2",
                           COLUMNS),
                5},
    [REMOVE] = {"reviews_remove", "DELETE FROM reviews WHERE user_id = $1 AND id = $2", 2},
    [HOLD] = {"reviews_hold",
              "SELECT true FROM reviews r WHERE r.user_id = $1 AND r.id = $2 FOR UPDATE OF r", 2},
    [CHECK] = {"reviews_check",
               "SELECT EXISTS (SELECT FROM products WHERE " SQL_ANY_USER " AND id = $2)", 2},
};

DB_STATEMENTS(reviews, statements);

static const struct resource_order lists[] = {
    {"id", &statements[BY_ID]},
    {"-id", &statements[BY_ID_DOWN]},
    {"created_at", &statements[BY_ID]},
    {"-created_at", &statements[BY_ID_DOWN]},
    {"rating", &statements[BY_RATING]},
    {"-rating", &statements[BY_RATING_DOWN]},
    {NULL, NULL},
};

const struct resource_sql reviews_sql = {
    .lists = lists,
    .find = &statements[FIND],
    .add = &statements[ADD],
    .change = &statements[CHANGE],
    .remove = &statements[REMOVE],
    .hold = &statements[HOLD],
    .check = &statements[CHECK],
};
