/* SPDX-License-Identifier: MIT
 *
 * Putting jobs into the table; see jobs.h. Owns no state.
 */
#include "common/jobs.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/statements.h"
#include "common/text.h"

enum { INSERT, DECLARE };

static const struct db_stmt statements[] = {
    /* Queue and attempts come from the caller, else from the task's declaration, else from here. */
    [INSERT] = {"jobs_insert",
                "INSERT INTO jobs (id, task, queue, priority, args, kwargs, max_attempts,"
                " scheduled_at, enqueued_at)"
                " SELECT $1::uuid, $2::text, coalesce($3::text, t.queue, 'default'), $4::smallint,"
                " coalesce($5::jsonb, '[]'), coalesce($6::jsonb, '{}'),"
                " coalesce(nullif($7::int, 0), t.max_attempts, 10),"
                " coalesce($8::timestamptz, now()),"
                " CASE WHEN $8::timestamptz IS NULL THEN now() END"
                " FROM (SELECT 1) one LEFT JOIN tasks t ON t.name = $2::text RETURNING queue",
                8},
    [DECLARE] = {"jobs_declare_task",
                 "INSERT INTO tasks (name, queue, max_attempts, fast) VALUES ($1, $2, $3, $4)"
                 " ON CONFLICT (name) DO UPDATE SET queue = excluded.queue,"
                 " max_attempts = excluded.max_attempts, fast = excluded.fast, seen_at = now()",
                 4},
};

DB_STATEMENTS(jobs, statements);

static enum err_code check_json(const char *text, int type, const char *what, struct err *e)
{
    AUTO(json_decref) json_t *value = NULL;
    enum err_code rc;

    if (!text)
        return ERR_OK;
    rc = json_read(text, strlen(text), JOB_ARGS_MAX, &value, NULL);
    if (rc || (int)json_typeof(value) != type)
        return err_set(e, ERR_INVALID, "%s of a job must be a JSON %s of at most %d bytes", what,
                       type == JSON_ARRAY ? "array" : "object", JOB_ARGS_MAX);
    return ERR_OK;
}

static enum err_code check_new(const struct job_new *new_job, struct err *e)
{
    enum err_code rc;

    if (!text_is_name(new_job->task))
        return err_set(e, ERR_INVALID, "\"%.40s\" is no name of a task", new_job->task);
    if (new_job->queue && !text_is_name(new_job->queue))
        return err_set(e, ERR_INVALID, "\"%.40s\" is no name of a queue", new_job->queue);
    rc = check_json(new_job->args, JSON_ARRAY, "args", e);
    return rc ? rc : check_json(new_job->kwargs, JSON_OBJECT, "kwargs", e);
}

enum err_code jobs_insert(struct db *db, const struct job_new *new_job, struct job_ready *ret_ready,
                          struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct uuid id = *new_job->id.text ? new_job->id : uuid_v7();
    char scheduled[CLOCK_TEXT_SIZE];
    enum err_code rc = check_new(new_job, e);

    if (rc)
        return rc;
    if (new_job->scheduled_us)
        clock_format(new_job->scheduled_us, scheduled);
    rc = db_query(db, &statements[INSERT],
                  DB_ARGS(DB_TEXT(id.text), DB_TEXT(new_job->task), DB_TEXT(new_job->queue),
                          DB_INT(new_job->priority), DB_TEXT(new_job->args),
                          DB_TEXT(new_job->kwargs), DB_INT(new_job->max_attempts),
                          DB_TEXT(new_job->scheduled_us ? scheduled : NULL)),
                  &rows, e);
    if (rc)
        return rc;
    *ret_ready = (struct job_ready){
        .id = id, .priority = new_job->priority, .is_ready = new_job->scheduled_us == 0};
    (void)snprintf(ret_ready->queue, sizeof ret_ready->queue, "%s", db_text(rows, 0, 0));
    return ERR_OK;
}

enum err_code jobs_declare_task(struct db *db, const char *name, const char *queue,
                                int max_attempts, bool fast, struct err *e)
{
    return db_exec(db, &statements[DECLARE],
                   DB_ARGS(DB_TEXT(name), DB_TEXT(queue), DB_INT(max_attempts), DB_BOOL(fast)),
                   NULL, e);
}
