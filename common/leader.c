/* SPDX-License-Identifier: MIT
 *
 * The scheduler's lock and its ear; see leader.h.
 */
#include "common/leader.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/statements.h"

enum { TRY, VERIFY };

static const struct db_stmt statements[] = {
    /* The lock is taken once a session, however often this is asked. "sched" in ASCII. */
    [TRY] = {"leader_try",
             "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory'"
             " AND pid = pg_backend_pid() AND granted AND classid = 115 AND objid = 1667786084)"
             " OR pg_try_advisory_lock(115, 1667786084)",
             0},
    /* A session that holds the lock takes it once more, for the transaction, at once; nobody else
     * can. */
    [VERIFY] = {"leader_verify", "SELECT pg_try_advisory_xact_lock(115, 1667786084)", 0},
};

DB_STATEMENTS(leader, statements);

enum err_code leader_try(struct db *db, bool *ret_leads, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[TRY], DB_NO_ARGS, &rows, e);

    if (!rc)
        *ret_leads = db_bool(rows, 0, 0);
    return rc;
}

enum err_code leader_verify(struct db *db, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[VERIFY], DB_NO_ARGS, &rows, e);

    if (!rc && !db_bool(rows, 0, 0))
        rc = err_set(e, ERR_UNAVAILABLE, "another scheduler leads");
    return rc;
}

enum err_code leader_settle(struct db *db, int64_t lease_seconds, struct err *e)
{
    char script[200];

    (void)snprintf(script, sizeof script,
                   "LISTEN till_jobs; SET idle_session_timeout = '%" PRId64 "s';"
                   " SET idle_in_transaction_session_timeout = '%" PRId64 "s'",
                   lease_seconds, lease_seconds);
    return db_run_script(db, script, e);
}
