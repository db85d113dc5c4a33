/* SPDX-License-Identifier: MIT
 *
 * Checkpoints of jobs; see job_checkpoints.h.
 */
#include "common/job_checkpoints.h"

#include "common/mem.h"
#include "common/statements.h"

enum { WRITE, READ };

static const struct db_stmt statements[] = {
    /* The commit goes out with it, so what must not be committed has to fail. */
    [WRITE] = {"job_checkpoints_write",
               "WITH written AS (UPDATE jobs SET checkpoint = $3::jsonb"
               " WHERE id = $1 AND attempt = $2 AND state = 'STARTED' RETURNING id)"
               " SELECT till_not_ours($1, $2) WHERE NOT EXISTS (SELECT FROM written)",
               3},
    [READ] = {"job_checkpoints_read", "SELECT checkpoint FROM jobs WHERE id = $1", 1},
};

DB_STATEMENTS(job_checkpoints, statements);

enum err_code job_checkpoints_write_later(struct db *db, const struct attempt *attempt,
                                          const char *checkpoint, struct err *e)
{
    return db_exec_later(
        db, &statements[WRITE],
        DB_ARGS(DB_TEXT(attempt->id.text), DB_INT(attempt->number), DB_TEXT(checkpoint)), e);
}

enum err_code job_checkpoints_read(struct db *db, const struct uuid *job, char **ret_checkpoint,
                                   struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[READ], DB_ARGS(DB_TEXT(job->text)), &rows, e);

    if (rc)
        return rc;
    *ret_checkpoint =
        db_rows(rows) > 0 && !db_is_null(rows, 0, 0) ? mem_dup(db_text(rows, 0, 0)) : NULL;
    return ERR_OK;
}
