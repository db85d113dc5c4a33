/* SPDX-License-Identifier: MIT
 *
 * Places of handlers that outlive their jobs; see limit_ghosts.h.
 */
#include "common/limit_ghosts.h"

#include "common/buf.h"
#include "common/statements.h"

enum { RENEW, END };

/* $1 and $2: ids, attempts. In the order in which everybody locks them. */
#define OF_THESE                                                                                   \
    " (g.job_id, g.attempt) IN (SELECT o.job_id, o.attempt FROM limit_ghosts o"                    \
    " JOIN unnest($1::uuid[], $2::int[]) AS n (id, attempt)"                                       \
    " ON o.job_id = n.id AND o.attempt = n.attempt ORDER BY o.job_id, o.attempt FOR UPDATE OF o)"

static const struct db_stmt statements[] = {
    [RENEW] = {"limit_ghosts_renew",
               "UPDATE limit_ghosts g"
               " SET until = clock_timestamp() + $3::bigint * interval '1 microsecond'"
               " WHERE" OF_THESE,
               3},
    /* Its trigger gives the places back. */
    [END] = {"limit_ghosts_end", "DELETE FROM limit_ghosts g WHERE" OF_THESE, 2},
};

DB_STATEMENTS(limit_ghosts, statements);

enum err_code limit_ghosts_renew(struct db *db, const struct attempt *attempts, size_t count,
                                 int64_t for_us, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf numbers;

    attempts_to_arrays(attempts, count, &ids, &numbers);
    return db_exec(db, &statements[RENEW],
                   DB_ARGS(DB_ARRAY(ids), DB_ARRAY(numbers), DB_INT(for_us)), NULL, e);
}

enum err_code limit_ghosts_end(struct db *db, const struct attempt *attempts, size_t count,
                               struct err *e)
{
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf numbers;

    attempts_to_arrays(attempts, count, &ids, &numbers);
    return db_exec(db, &statements[END], DB_ARGS(DB_ARRAY(ids), DB_ARRAY(numbers)), NULL, e);
}
