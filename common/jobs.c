/* SPDX-License-Identifier: MIT
 *
 * Putting jobs into the table; see jobs.h. Owns no state.
 */
#include "common/jobs.h"

#include <stdio.h>
#include <string.h>

#include "common/job_options.h"
#include "common/job_params.h"
#include "common/jobs_unique.h"
#include "common/json.h"
#include "common/statements.h"
#include "common/text.h"

enum { INSERT, INSERT_MANY, FIND_TASK, FIND_DECLARED, DECLARE };

static const struct db_stmt statements[] = {
    [INSERT] = {"jobs_insert",
                "INSERT INTO jobs (" JOB_COLUMNS ") SELECT " JOB_VALUES
                " FROM (SELECT $1::uuid AS id, $2::text AS task, $3::text AS queue,"
                " $4::smallint AS priority, $5::jsonb AS args, $6::jsonb AS kwargs,"
                " $7::int AS max_attempts, $8::timestamptz AS scheduled_at,"
                " $9::timestamptz AS expires_at, $10::jsonb AS headers, $11::text AS traceparent,"
                " nullif($12::int, 0) AS retention_s, $13::text AS limit_key) n"
                " LEFT JOIN tasks t ON t.name = n.task RETURNING queue",
                13},
    [INSERT_MANY] = {"jobs_insert_many",
                     "INSERT INTO jobs (" JOB_COLUMNS ") SELECT " JOB_VALUES
                     " FROM " JOB_ARRAYS_GIVEN ") WITH ORDINALITY AS n (" JOB_ARRAY_NAMES ", place)"
                     " LEFT JOIN tasks t ON t.name = n.task ORDER BY n.place RETURNING id, queue",
                     13},
    [FIND_TASK] = {"jobs_find_task", "SELECT queue, fast FROM tasks WHERE name = $1", 1},
    [FIND_DECLARED] = {"jobs_find_declared",
                       "SELECT FROM tasks WHERE name = $1"
                       " AND seen_at > now() - make_interval(secs => $2)",
                       2},
    [DECLARE] = {"jobs_declare_task",
                 "INSERT INTO tasks (name, queue, max_attempts, fast, retention_s, secrets)"
                 " VALUES ($1, $2, $3, $4, nullif($5::int, 0), $6)"
                 " ON CONFLICT (name) DO UPDATE SET queue = excluded.queue,"
                 " max_attempts = excluded.max_attempts, fast = excluded.fast,"
                 " retention_s = excluded.retention_s, secrets = excluded.secrets,"
                 " seen_at = now()",
                 6},
};

DB_STATEMENTS(jobs, statements);

static enum err_code check_json(const char *text, int type, const char *what, struct err *e)
{
    AUTO(json_decref) json_t *value = NULL;
    const char *wanted = type == JSON_ARRAY ? "array" : "object";
    struct err why = {0};

    if (!text)
        return ERR_OK;
    if (json_read(text, strlen(text), JOB_ARGS_MAX, &value, &why))
        return err_set(e, ERR_INVALID, "%s of a job must be a JSON %s: %s", what, wanted, why.text);
    if ((int)json_typeof(value) != type)
        return err_set(e, ERR_INVALID, "%s of a job must be a JSON %s", what, wanted);
    return ERR_OK;
}

enum err_code jobs_check(const struct job_new *new_job, struct err *e)
{
    enum err_code rc;

    if (!new_job->task)
        return err_set(e, ERR_INVALID, "a job needs the name of a task");
    if (!text_is_name(new_job->task))
        return err_set(e, ERR_INVALID, "\"%.40s\" is no name of a task", new_job->task);
    if (new_job->queue && !text_is_name(new_job->queue))
        return err_set(e, ERR_INVALID, "\"%.40s\" is no name of a queue", new_job->queue);
    rc = check_json(new_job->args, JSON_ARRAY, "args", e);
    if (!rc)
        rc = check_json(new_job->kwargs, JSON_OBJECT, "kwargs", e);
    return rc ? rc : job_options_check(new_job, e);
}

/* ---- jobs without a unique key ---- */

static enum err_code insert_plain(struct db *db, const struct job_new *new_job, bool later,
                                  struct job_ready *ret_ready, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct job_ready ready = job_ready_of(new_job);
    struct db_param params[JOB_PARAMS_PLAIN];
    const struct db_args args = {params, JOB_PARAMS_PLAIN};
    struct job_params texts;
    enum err_code rc;

    job_params_write(new_job, &ready.id, &texts);
    for (int i = 0; i < JOB_PARAMS_PLAIN; i++)
        params[i] = DB_TEXT(texts.values[i]);
    rc = later ? db_exec_later(db, &statements[INSERT], args, e)
               : db_query(db, &statements[INSERT], args, &rows, e);
    if (rc)
        return rc;
    job_ready_set_queue(&ready, later ? new_job->queue : db_text(rows, 0, 0));
    *ret_ready = ready;
    return ERR_OK;
}

/* Rows of (id, queue) come in the order of the jobs; that is how the server does it, not what it
 * promises. `at` is where to begin; gives where the row's job stands, `count` when nowhere. */
static size_t find_job(const struct db_result *rows, int row, const struct job_ready *ready,
                       size_t count, size_t at)
{
    const char *id = db_text(rows, row, 0);

    for (size_t tries = 0; tries < count; tries++, at = at + 1 < count ? at + 1 : 0)
        if (strcmp(ready[at].id.text, id) == 0)
            return at;
    return count;
}

static enum err_code read_queues(const struct db_result *rows, struct job_ready *ready,
                                 size_t count, struct err *e)
{
    size_t at = 0;

    for (int row = 0; row < db_rows(rows); row++) {
        at = find_job(rows, row, ready, count, at);
        if (at == count)
            return err_set(e, ERR_INTERNAL, "the database returned a job of another batch");
        job_ready_set_queue(&ready[at], db_text(rows, row, 1));
    }
    return ERR_OK;
}

static enum err_code insert_plain_many(struct db *db, const struct job_new *jobs, size_t count,
                                       struct job_ready *ready, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(job_arrays_release) struct job_arrays arrays;
    enum err_code rc;

    job_arrays_init(&arrays);
    for (size_t i = 0; i < count; i++)
        job_arrays_add(&arrays, &ready[i].id, &jobs[i]);
    rc = job_arrays_run(db, &statements[INSERT_MANY], &arrays, &rows, e);
    if (rc)
        return rc;
    if ((size_t)db_rows(rows) != count)
        return err_set(e, ERR_INTERNAL, "%d jobs were inserted, not %zu", db_rows(rows), count);
    return read_queues(rows, ready, count, e);
}

static enum err_code insert(struct db *db, const struct job_new *new_job, bool later,
                            struct job_ready *ret_ready, struct err *e)
{
    struct job_ready ready;
    enum err_code rc = jobs_check(new_job, e);

    if (rc)
        return rc;
    if (!new_job->unique_key)
        return insert_plain(db, new_job, later && new_job->queue, ret_ready, e);
    ready = job_ready_of(new_job);
    rc = jobs_insert_unique(db, new_job, 1, &ready, e);
    if (!rc)
        *ret_ready = ready;
    return rc;
}

enum err_code jobs_insert(struct db *db, const struct job_new *new_job, struct job_ready *ret_ready,
                          struct err *e)
{
    return insert(db, new_job, false, ret_ready, e);
}

enum err_code jobs_insert_later(struct db *db, const struct job_new *new_job,
                                struct job_ready *ret_ready, struct err *e)
{
    return insert(db, new_job, true, ret_ready, e);
}

enum err_code jobs_insert_many(struct db *db, const struct job_new *jobs, size_t count,
                               struct job_ready *ret_ready, struct err *e)
{
    bool unique = false;

    if (count > JOBS_INSERT_MAX)
        return err_set(e, ERR_INVALID, "%zu jobs are more than %d", count, JOBS_INSERT_MAX);
    for (size_t i = 0; i < count; i++) {
        enum err_code rc = jobs_check(&jobs[i], e);

        if (rc)
            return rc;
        ret_ready[i] = job_ready_of(&jobs[i]);
        unique |= jobs[i].unique_key != NULL;
    }
    if (count == 0)
        return ERR_OK;
    return unique ? jobs_insert_unique(db, jobs, count, ret_ready, e)
                  : insert_plain_many(db, jobs, count, ret_ready, e);
}

enum err_code jobs_find_fast_task(struct db *db, const char *task, char *ret_queue, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[FIND_TASK], DB_ARGS(DB_TEXT(task)), &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) == 0)
        return err_set(e, ERR_INVALID,
                       "no worker has told yet that \"%.100s\" is a fast task; start one", task);
    if (!db_bool(rows, 0, 1))
        return err_set(e, ERR_INVALID, "\"%.100s\" is not declared fast: its jobs need a row",
                       task);
    (void)snprintf(ret_queue, JOB_NAME_MAX + 1, "%s", db_text(rows, 0, 0));
    return ERR_OK;
}

enum err_code jobs_task_is_declared(struct db *db, const char *task, int64_t since_s,
                                    bool *ret_declared, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(db, &statements[FIND_DECLARED], DB_ARGS(DB_TEXT(task), DB_INT(since_s)), &rows, e);

    if (!rc)
        *ret_declared = db_rows(rows) > 0;
    return rc;
}

enum err_code jobs_declare_task(struct db *db, const struct task_declared *task, struct err *e)
{
    return db_exec(db, &statements[DECLARE],
                   DB_ARGS(DB_TEXT(task->name), DB_TEXT(task->queue), DB_INT(task->max_attempts),
                           DB_BOOL(task->fast), DB_INT(task->retention_s),
                           DB_TEXT(task->secrets ? task->secrets : "{}")),
                   NULL, e);
}
