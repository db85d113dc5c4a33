/* SPDX-License-Identifier: MIT
 *
 * Declared secrets in the database; see task_secrets.h.
 */
#include "common/task_secrets.h"

#include <string.h>

#include "common/mem.h"
#include "common/statements.h"

enum { OF_TASK, LIST, SET, FORGET };

static const struct db_stmt statements[] = {
    [OF_TASK] = {"task_secrets_of", "SELECT job_secrets($1)", 1},
    [LIST] = {"task_secrets_list",
              "SELECT task, to_json(keys)::text FROM task_secrets ORDER BY task", 0},
    [SET] = {"task_secrets_set",
             "INSERT INTO task_secrets (task, keys) VALUES ($1, $2) ON CONFLICT (task)"
             " DO UPDATE SET keys = excluded.keys, declared_at = now()",
             2},
    [FORGET] = {"task_secrets_forget", "DELETE FROM task_secrets WHERE task = $1", 1},
};

DB_STATEMENTS(task_secrets, statements);

enum err_code task_secrets_find(struct db *db, const char *task, char **ret_names, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[OF_TASK], DB_ARGS(DB_TEXT(task)), &rows, e);

    if (rc)
        return rc;
    *ret_names = db_is_null(rows, 0, 0) ? NULL : mem_dup(db_text(rows, 0, 0));
    return ERR_OK;
}

enum err_code task_secrets_list(struct db *db, struct db_result **ret_rows, struct err *e)
{
    return db_query(db, &statements[LIST], DB_NO_ARGS, ret_rows, e);
}

enum err_code task_secrets_set(struct db *db, const char *task, const char *names, struct err *e)
{
    if (!names)
        return db_exec(db, &statements[FORGET], DB_ARGS(DB_TEXT(task)), NULL, e);
    return db_exec(db, &statements[SET], DB_ARGS(DB_TEXT(task), DB_TEXT(names)), NULL, e);
}

enum err_code task_shown_make(struct db *db, const char *task, const char *args, const char *kwargs,
                              struct job_shown *ret_shown, struct err *e)
{
    AUTO(mem_free) char *names = NULL;
    enum err_code rc = task_secrets_find(db, task, &names, e);

    if (rc)
        return rc;
    job_shown_make(
        &(struct job_view){
            .task = task, .args = args, .kwargs = kwargs, .secrets = names, .shows_max = INT64_MAX},
        ret_shown);
    return ERR_OK;
}

enum err_code job_shown_find(struct db *db, const struct uuid *id, struct job_shown *ret_shown,
                             struct err *e)
{
    AUTO_VALUE(job_detail_release) struct job_detail detail = {0};
    enum err_code rc = jobs_find(db, id, &detail, e);

    if (!rc)
        job_shown_make(&detail.job, ret_shown);
    return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}
