/* SPDX-License-Identifier: MIT
 *
 * Registering sessions of till-api; see api_session.h. Waits for no lock: whoever holds the other
 * one may be frozen.
 */
#include "common/api_session.h"

#include "common/statements.h"

static const struct db_stmt statements[] = {
    {"api_session_register",
     "SELECT CASE WHEN pg_backend_pid() = $1::int AND NOT pg_is_in_recovery() THEN"
     " CASE WHEN pg_try_advisory_lock_shared(" SQL_API_SESSIONS_LOCK ") THEN"
     " nextval('api_sessions') END END",
     1},
};

DB_STATEMENTS(api_session, statements);

enum err_code api_session_register(struct db *db, bool *ret_registered, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_connect(db, e);

    if (!rc)
        rc = db_query(db, &statements[0], DB_ARGS(DB_INT(db_backend(db))), &rows, e);
    if (!rc)
        *ret_registered = !db_is_null(rows, 0, 0);
    return rc;
}
