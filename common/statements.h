/* SPDX-License-Identifier: MIT
 *
 * The tables of SQL statements of all store files, so that a test can prepare every one against a
 * migrated database. A store file ends its table with DB_STATEMENTS(its_name, table) and is listed
 * in statements.c; `make lint` compares the two.
 */
#ifndef COMMON_STATEMENTS_H
#define COMMON_STATEMENTS_H

#include <stddef.h>

#include "common/db.h"

struct db_statements {
    const char *store;
    const struct db_stmt *statements;
    size_t count;
};

#define DB_STATEMENTS(store, table)                                                                \
    extern const struct db_statements db_statements_##store;                                       \
    const struct db_statements db_statements_##store = {#store, (table), COUNT_OF(table)}

/* A timestamptz column as clock_format() writes it; sessions run in UTC. */
#define SQL_TIME(column) "to_char(" column ", 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

extern const struct db_statements *const db_all_statements[];
extern const size_t db_all_statements_count;

#endif
