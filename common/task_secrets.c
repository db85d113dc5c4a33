/* SPDX-License-Identifier: MIT
 *
 * Declared secrets in the database; see task_secrets.h.
 */
#include "common/task_secrets.h"

#include <string.h>

#include "common/mem.h"
#include "common/redact.h"
#include "common/statements.h"

enum { OF_TASK, LIST, SET, FORGET, VALUES };

static const struct db_stmt statements[] = {
    [OF_TASK] = {"task_secrets_of", "SELECT job_secrets($1)", 1},
    [LIST] = {"task_secrets_list",
              "SELECT task, to_json(keys)::text FROM task_secrets ORDER BY task", 0},
    [SET] = {"task_secrets_set",
             "INSERT INTO task_secrets (task, keys) VALUES ($1, $2) ON CONFLICT (task)"
             " DO UPDATE SET keys = excluded.keys, declared_at = now()",
             2},
    [FORGET] = {"task_secrets_forget", "DELETE FROM task_secrets WHERE task = $1", 1},
    [VALUES] = {"task_secrets_values", "SELECT args, kwargs, result FROM jobs WHERE id = $1", 1},
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

void task_secrets_hide_last_error(const struct db_result *declared, json_t *report)
{
    json_t *last = json_object_get(report, "last_error");
    const char *task = json_member_text(last, "task");
    bool is_hidden = !declared;

    for (int row = 0; declared && task && row < db_rows(declared); row++)
        is_hidden |= strcmp(db_text(declared, row, 0), "*") == 0 ||
                     strcmp(db_text(declared, row, 0), task) == 0;
    if (task && is_hidden)
        (void)json_object_set_new(last, "error", json_string(REDACTED));
}

enum err_code task_secrets_set(struct db *db, const char *task, const char *names, struct err *e)
{
    if (!names)
        return db_exec(db, &statements[FORGET], DB_ARGS(DB_TEXT(task)), NULL, e);
    return db_exec(db, &statements[SET], DB_ARGS(DB_TEXT(task), DB_TEXT(names)), NULL, e);
}

bool job_has_unread(const struct job_view *job)
{
    return (!job->args && job->args_bytes > 0) || (!job->kwargs && job->kwargs_bytes > 0) ||
           (!job->result && job->result_bytes > 0);
}

enum err_code job_secrets_read(struct db *db, const struct job_view *job,
                               struct secrets *ret_secrets, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
    enum err_code rc = db_query(db, &statements[VALUES], DB_ARGS(DB_TEXT(job->id.text)), &rows, e);

    if (rc || db_rows(rows) == 0)
        return rc;
    job_shown_make(
        &(struct job_view){
            .args = db_text(rows, 0, 0),
            .kwargs = db_text(rows, 0, 1),
            .result = db_is_null(rows, 0, 2) ? NULL : db_text(rows, 0, 2),
            .secrets = job->secrets,
            .shows_max = -1, /* none of it is shown */
        },
        &shown);
    *ret_secrets = shown.secrets;
    shown.secrets = (struct secrets){0};
    return ERR_OK;
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
