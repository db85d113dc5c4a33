/* SPDX-License-Identifier: MIT
 *
 * One shape for the kinds of rows that a REST API lists, shows, adds, changes and removes. A store
 * writes its statements so that each row comes as the JSON text that a client gets: what a client
 * sees of a table is said once, in its SQL. Parameter 1 is always the user who asks, and whose row
 * it must be is part of the statement: somebody else's row is not found.
 *
 *   [FIND] = {"wishlists_find", SQL_ROW(COLUMNS, FROM " AND w.id = $2"), 2},
 *   ...
 *   const struct resource_sql wishlists_sql = {.find = &statements[FIND], ...
 */
#ifndef COMMON_RESOURCE_H
#define COMMON_RESOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

enum { RESOURCE_VALUES_MAX = 12, RESOURCE_REFERENCES_MAX = 4 };

/* One ordering of a list: what a client calls it ("-price") and its statement. */
struct resource_order {
    const char *name;
    const struct db_stmt *stmt;
};

/* What is NULL is not offered. */
struct resource_sql {
    /* $1 user, $2 limit, $3 offset, then the filters (NULL: any) -> (count, JSON array).
     * The first is the default; ends with a NULL name. A third column tells which rows of
     * products these are (catalogue_rows_read()), where that is what the answer is kept by. */
    const struct resource_order *lists;
    const struct db_stmt *find;   /* $1 user, $2 id -> (JSON), and that as the second */
    const struct db_stmt *add;    /* $1 user, then the values -> (JSON); no row: a reference that
                                     does not exist for this user */
    const struct db_stmt *change; /* $1 user, $2 id, then the values; NULL leaves as it is */
    const struct db_stmt *remove; /* $1 user, $2 id */
    const struct db_stmt *hold;   /* $1 user, $2 id: locks the row that `change` would write */
    const struct db_stmt *check;  /* $1 user, then the ids referred to -> one boolean each */
};

/* Statements of one row and of one page as JSON. `columns` carry the names that clients see. */
#define SQL_ROW(columns, from)                                                                     \
    "SELECT row_to_json(t)::text FROM (SELECT " columns " FROM " from ") t"
#define SQL_ROW_OF(write, columns)                                                                 \
    "WITH t AS (" write " RETURNING " columns ") SELECT row_to_json(t)::text FROM t"
#define SQL_PAGE(columns, from, order)                                                             \
    "SELECT (SELECT count(*) FROM " from "), '[' || (SELECT coalesce(string_agg("                  \
    "row_to_json(t)::text, ','), '') FROM (SELECT " columns " FROM " from " ORDER BY " order       \
    " LIMIT $2 OFFSET $3) t) || ']'"
/* For rows that everybody may see: parameter 1 has to be named once. */
#define SQL_ANY_USER "$1::bigint IS NOT NULL"
/* The times of a row under their names. */
#define SQL_CREATED(table) SQL_TIME(table ".created_at") " AS created_at"
#define SQL_UPDATED(table) SQL_TIME(table ".updated_at") " AS updated_at"

/* The values of one call. */
struct resource_values {
    struct db_param items[RESOURCE_VALUES_MAX];
    size_t count;
};

struct resource_page {
    const char *order; /* NULL or unknown: the default */
    int64_t limit;
    int64_t offset;
};

/* Column 1 of the row is the JSON array. */
enum err_code resource_list(struct db *db, const struct resource_sql *sql, int64_t user_id,
                            const struct resource_page *page, const struct resource_values *filters,
                            struct db_result **ret_rows, int64_t *ret_total,
                            struct err *e) MUST_CHECK;
/* ERR_NOT_FOUND, here and below: it does not exist, or not for this user. */
enum err_code resource_find(struct db *db, const struct resource_sql *sql, int64_t user_id,
                            int64_t id, struct db_result **ret_rows, struct err *e) MUST_CHECK;
enum err_code resource_add(struct db *db, const struct resource_sql *sql, int64_t user_id,
                           const struct resource_values *values, struct db_result **ret_rows,
                           struct err *e) MUST_CHECK;
enum err_code resource_change(struct db *db, const struct resource_sql *sql, int64_t user_id,
                              int64_t id, const struct resource_values *values,
                              struct db_result **ret_rows, struct err *e) MUST_CHECK;
enum err_code resource_remove(struct db *db, const struct resource_sql *sql, int64_t user_id,
                              int64_t id, struct err *e) MUST_CHECK;
/* In the caller's transaction: nobody else changes the row before its end. */
enum err_code resource_hold(struct db *db, const struct resource_sql *sql, int64_t user_id,
                            int64_t id, struct err *e) MUST_CHECK;
/* Which of the ids (0: none given) exist for this user: fills exists[count]. */
enum err_code resource_check(struct db *db, const struct resource_sql *sql, int64_t user_id,
                             const int64_t *ids, size_t count, bool *exists,
                             struct err *e) MUST_CHECK;

#endif
