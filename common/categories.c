/* SPDX-License-Identifier: MIT
 *
 * Statements on categories. A parent of 0 is none; the trigger categories_no_cycle keeps them a
 * tree.
 */
#include "common/shop.h"
#include "common/statements.h"

#define COLUMNS "c.id, c.name, " SQL_CREATED("c") ", " SQL_UPDATED("c") ", c.parent_id"
/* $4 parent, $5 part of the name */
#define LISTED                                                                                     \
    "categories c WHERE " SQL_ANY_USER " AND ($4::bigint IS NULL OR c.parent_id = $4)"             \
    " AND ($5::text IS NULL OR strpos(lower(c.name), lower($5)) > 0)"
#define LIST(order) SQL_PAGE(COLUMNS, LISTED, order)

enum { BY_ID, BY_ID_DOWN, BY_NAME, BY_NAME_DOWN, FIND, ADD, CHANGE, REMOVE, HOLD, CHECK };

static const struct db_stmt statements[] = {
    [BY_ID] = {"categories_by_id", LIST("c.id"), 5},
    [BY_ID_DOWN] = {"categories_by_id_down", LIST("c.id DESC"), 5},
    [BY_NAME] = {"categories_by_name", LIST("c.name, c.id"), 5},
    [BY_NAME_DOWN] = {"categories_by_name_down", LIST("c.name DESC, c.id DESC"), 5},
    [FIND] = {"categories_find",
              SQL_ROW(COLUMNS, "categories c WHERE " SQL_ANY_USER " AND c.id = $2"), 2},
    [ADD] = {"categories_add",
             SQL_ROW_OF("INSERT INTO categories AS c (name, parent_id)"
                        " SELECT $2::text, nullif($3::bigint, 0) WHERE " SQL_ANY_USER,
                        COLUMNS),
             3},
    [CHANGE] = {"categories_change",
                SQL_ROW_OF("UPDATE categories c SET name = coalesce($3, c.name), parent_id ="
                           " CASE WHEN $4::bigint = 0 THEN NULL ELSE coalesce($4, c.parent_id) END"
                           " WHERE " SQL_ANY_USER " AND c.id = $2",
                           COLUMNS),
                4},
    [REMOVE] = {"categories_remove", "DELETE FROM categories WHERE " SQL_ANY_USER " AND id = $2",
                2},
    [HOLD] = {"categories_hold",
              "SELECT true FROM categories c WHERE " SQL_ANY_USER " AND c.id = $2 FOR UPDATE OF c",
              2},
    [CHECK] = {"categories_check",
               "SELECT EXISTS (SELECT FROM categories WHERE " SQL_ANY_USER " AND id = $2)", 2},
};

DB_STATEMENTS(categories, statements);

static const struct resource_order lists[] = {
    {"id", &statements[BY_ID]},
    {"-id", &statements[BY_ID_DOWN]},
    {"name", &statements[BY_NAME]},
    {"-name", &statements[BY_NAME_DOWN]},
    {NULL, NULL},
};

const struct resource_sql categories_sql = {
    .lists = lists,
    .find = &statements[FIND],
    .add = &statements[ADD],
    .change = &statements[CHANGE],
    .remove = &statements[REMOVE],
    .hold = &statements[HOLD],
    .check = &statements[CHECK],
};
