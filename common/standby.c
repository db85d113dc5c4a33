/* SPDX-License-Identifier: MIT
 *
 * Statements about a standby; see standby.h and sql/0020_user_writes.sql.
 */
#include "common/standby.h"

#include "common/statements.h"

enum { LOOK, NOTE };

static const struct db_stmt statements[] = {
    /* The statements that come after see no less than this one, since replay goes forward. */
    [LOOK] = {"standby_look",
              "SELECT pg_is_in_recovery()"
              " AND EXISTS (SELECT FROM pg_stat_get_wal_receiver() r WHERE r.pid IS NOT NULL),"
              " (pg_last_wal_replay_lsn() - '0/0')::bigint,"
              " coalesce((SELECT writes FROM user_writes WHERE user_id = $1), 0)",
              1},
    [NOTE] = {"standby_note_write",
              "INSERT INTO user_writes AS w (user_id, writes) VALUES ($1, 1)"
              " ON CONFLICT (user_id) DO UPDATE SET writes = w.writes + 1",
              1},
};

DB_STATEMENTS(standby, statements);

enum err_code standby_look(struct db *db, int64_t user_id, struct standby *ret, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[LOOK], DB_ARGS(DB_INT(user_id)), &rows, e);

    if (!rc)
        *ret = (struct standby){
            .is_following = db_bool(rows, 0, 0),
            .position = db_int(rows, 0, 1),
            .writes = db_int(rows, 0, 2),
        };
    return rc;
}

enum err_code standby_note_write(struct db *db, int64_t user_id, struct err *e)
{
    return db_exec(db, &statements[NOTE], DB_ARGS(DB_INT(user_id)), NULL, e);
}
