/* SPDX-License-Identifier: MIT
 *
 * Tables that have just grown; see table_growth.h.
 */
#include "common/table_growth.h"

#include "common/statements.h"

static const struct db_stmt statements[] = {
    {"table_growth_analyze", "SELECT till_analyze_grown()", 0},
};

DB_STATEMENTS(table_growth, statements);

enum err_code table_growth_analyze(struct db *db, int64_t *ret_count, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[0], DB_NO_ARGS, &rows, e);

    if (!rc)
        *ret_count = db_int(rows, 0, 0);
    return rc;
}
