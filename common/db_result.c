/* SPDX-License-Identifier: MIT
 *
 * Reading the rows of a result; see db.h. A struct db_result is libpq's PGresult by another name.
 * Opens nothing.
 */
#include "common/db.h"

#include <libpq-fe.h>

#include "common/text.h"

static PGresult *raw(const struct db_result *rows) { return (PGresult *)(uintptr_t)rows; }

void db_result_free(struct db_result *rows) { PQclear(raw(rows)); }

int db_rows(const struct db_result *rows) { return PQntuples(raw(rows)); }

const char *db_text(const struct db_result *rows, int row, int col)
{
    return PQgetvalue(raw(rows), row, col);
}

bool db_is_null(const struct db_result *rows, int row, int col)
{
    return PQgetisnull(raw(rows), row, col) == 1;
}

int64_t db_int(const struct db_result *rows, int row, int col)
{
    int64_t value = 0;

    (void)text_to_int(db_text(rows, row, col), INT64_MIN, INT64_MAX, &value);
    return value;
}

bool db_bool(const struct db_result *rows, int row, int col)
{
    return *db_text(rows, row, col) == 't';
}
