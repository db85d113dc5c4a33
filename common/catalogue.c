/* SPDX-License-Identifier: MIT
 *
 * Asking whether somebody writes to the catalogue; see catalogue.h.
 */
#include "common/catalogue.h"

#include "common/statements.h"

#define LOCK "hashtextextended('till catalogue', 0)"

static const struct db_stmt statements[] = {
    {"catalogue_is_still",
     "SELECT CASE WHEN pg_try_advisory_lock(" LOCK ") THEN pg_advisory_unlock(" LOCK ")"
     " ELSE false END",
     0},
};

DB_STATEMENTS(catalogue, statements);

enum err_code catalogue_is_still(struct db *db, bool *ret_still, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[0], DB_NO_ARGS, &rows, e);

    if (!rc)
        *ret_still = db_bool(rows, 0, 0);
    return rc;
}
