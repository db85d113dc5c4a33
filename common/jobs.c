/* SPDX-License-Identifier: MIT
 *
 * Putting jobs into the table; see jobs.h. Owns no state.
 */
#include "common/jobs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/statements.h"
#include "common/text.h"

enum { INSERT, INSERT_MANY, DECLARE };

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
    /* The same for arrays, one element a job. */
    [INSERT_MANY] =
        {"jobs_insert_many",
         "INSERT INTO jobs (id, task, queue, priority, args, kwargs, max_attempts,"
         " scheduled_at, enqueued_at)"
         " SELECT n.id, n.task, coalesce(n.queue, t.queue, 'default'), n.priority,"
         " coalesce(n.args, '[]'), coalesce(n.kwargs, '{}'),"
         " coalesce(nullif(n.max_attempts, 0), t.max_attempts, 10),"
         " coalesce(n.scheduled_at, now()), CASE WHEN n.scheduled_at IS NULL THEN now() END"
         " FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::jsonb[],"
         " $6::jsonb[], $7::int[], $8::timestamptz[]) WITH ORDINALITY"
         " AS n (id, task, queue, priority, args, kwargs, max_attempts, scheduled_at, place)"
         " LEFT JOIN tasks t ON t.name = n.task ORDER BY n.place RETURNING id, queue",
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

enum err_code jobs_check(const struct job_new *new_job, struct err *e)
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
    enum err_code rc = jobs_check(new_job, e);

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

/* The parameters of INSERT_MANY, in its order. */
enum { IDS, TASKS, QUEUES, PRIORITIES, ARGS, KWARGS, ATTEMPTS, TIMES, ARRAYS };

struct arrays {
    struct buf items[ARRAYS];
};

static void arrays_init(struct arrays *arrays)
{
    for (int i = 0; i < ARRAYS; i++)
        buf_init(&arrays->items[i], JOBS_INSERT_BYTES);
}

static void arrays_release(struct arrays *arrays)
{
    for (int i = 0; i < ARRAYS; i++)
        buf_release(&arrays->items[i]);
}

static void add_number(struct buf *array, int64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRId64, number);
    db_array_add(array, text);
}

static void add_job(struct arrays *arrays, const struct uuid *id, const struct job_new *job)
{
    char scheduled[CLOCK_TEXT_SIZE];

    if (job->scheduled_us)
        clock_format(job->scheduled_us, scheduled);
    db_array_add(&arrays->items[IDS], id->text);
    db_array_add(&arrays->items[TASKS], job->task);
    db_array_add(&arrays->items[QUEUES], job->queue);
    add_number(&arrays->items[PRIORITIES], job->priority);
    db_array_add(&arrays->items[ARGS], job->args);
    db_array_add(&arrays->items[KWARGS], job->kwargs);
    add_number(&arrays->items[ATTEMPTS], job->max_attempts);
    db_array_add(&arrays->items[TIMES], job->scheduled_us ? scheduled : NULL);
}

/* Checks the jobs and makes the arrays; the ids go into `ready`. */
static enum err_code make_arrays(const struct job_new *jobs, size_t count, struct arrays *arrays,
                                 struct job_ready *ready, struct err *e)
{
    bool overflow = false;

    for (size_t i = 0; i < count; i++) {
        enum err_code rc = jobs_check(&jobs[i], e);

        if (rc)
            return rc;
        ready[i] = (struct job_ready){.id = *jobs[i].id.text ? jobs[i].id : uuid_v7(),
                                      .priority = jobs[i].priority,
                                      .is_ready = jobs[i].scheduled_us == 0};
        add_job(arrays, &ready[i].id, &jobs[i]);
    }
    for (int i = 0; i < ARRAYS; i++) {
        db_array_end(&arrays->items[i]);
        overflow |= arrays->items[i].overflow;
    }
    if (overflow)
        return err_set(e, ERR_INVALID, "%zu jobs have more than %d bytes of arguments", count,
                       JOBS_INSERT_BYTES);
    return ERR_OK;
}

/* The rows come in the order of the jobs; that is how the server does it, not what it promises. */
static enum err_code read_queues(const struct db_result *rows, struct job_ready *ready,
                                 size_t count, struct err *e)
{
    size_t at = 0;

    for (size_t row = 0; row < count; row++) {
        const char *id = db_text(rows, (int)row, 0);
        size_t tries = 0;

        while (strcmp(ready[at].id.text, id) != 0) {
            if (++tries == count)
                return err_set(e, ERR_INTERNAL, "the database returned a job of another batch");
            at = (at + 1) % count;
        }
        (void)snprintf(ready[at].queue, sizeof ready[at].queue, "%s", db_text(rows, (int)row, 1));
        at = (at + 1) % count;
    }
    return ERR_OK;
}

enum err_code jobs_insert_many(struct db *db, const struct job_new *jobs, size_t count,
                               struct job_ready *ret_ready, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(arrays_release) struct arrays arrays;
    struct db_param params[ARRAYS];
    enum err_code rc;

    arrays_init(&arrays);
    if (count == 0)
        return ERR_OK;
    if (count > JOBS_INSERT_MAX)
        return err_set(e, ERR_INVALID, "%zu jobs are more than %d", count, JOBS_INSERT_MAX);
    rc = make_arrays(jobs, count, &arrays, ret_ready, e);
    if (rc)
        return rc;
    for (int i = 0; i < ARRAYS; i++)
        params[i] = DB_TEXT(arrays.items[i].data);
    rc = db_query(db, &statements[INSERT_MANY], (struct db_args){params, ARRAYS}, &rows, e);
    if (rc)
        return rc;
    if ((size_t)db_rows(rows) != count)
        return err_set(e, ERR_INTERNAL, "%d jobs were inserted, not %zu", db_rows(rows), count);
    return read_queues(rows, ret_ready, count, e);
}

enum err_code jobs_declare_task(struct db *db, const char *name, const char *queue,
                                int max_attempts, bool fast, struct err *e)
{
    return db_exec(db, &statements[DECLARE],
                   DB_ARGS(DB_TEXT(name), DB_TEXT(queue), DB_INT(max_attempts), DB_BOOL(fast)),
                   NULL, e);
}
