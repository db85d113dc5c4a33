/* SPDX-License-Identifier: MIT
 *
 * Asking whether somebody writes to the catalogue; see catalogue.h.
 */
#include "common/catalogue.h"

#include "common/statements.h"

#define LOCK "hashtextextended('till catalogue', 0)"

static const struct db_stmt statements[] = {
    {"catalogue_is_still",
     /* The position is taken after the lock, so that whoever held it has committed before it. */
     "SELECT CASE WHEN pg_try_advisory_lock(" LOCK ") THEN"
     " CASE WHEN pg_advisory_unlock(" LOCK ") THEN CASE WHEN pg_is_in_recovery() THEN 0"
     " ELSE (pg_current_wal_insert_lsn() - '0/0')::bigint END END END",
     0},
};

DB_STATEMENTS(catalogue, statements);

enum err_code catalogue_is_still(struct db *db, bool *ret_still, int64_t *ret_position,
                                 struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[0], DB_NO_ARGS, &rows, e);

    if (rc)
        return rc;
    *ret_still = !db_is_null(rows, 0, 0);
    *ret_position = db_int(rows, 0, 0);
    return ERR_OK;
}
