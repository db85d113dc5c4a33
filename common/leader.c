/* SPDX-License-Identifier: MIT
 *
 * The scheduler's lock and its ear; see leader.h.
 */
#include "common/leader.h"

#include "common/statements.h"

enum { TRY };

static const struct db_stmt statements[] = {
    /* The lock is taken once a session, however often this is asked. "sched" in ASCII. */
    [TRY] = {"leader_try",
             "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory'"
             " AND pid = pg_backend_pid() AND granted AND classid = 115 AND objid = 1667786084)"
             " OR pg_try_advisory_lock(115, 1667786084)",
             0},
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

enum err_code leader_listen(struct db *db, struct err *e)
{
    return db_run_script(db, "LISTEN till_jobs", e);
}
