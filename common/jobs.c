/* SPDX-License-Identifier: MIT
 *
 * Putting jobs into the table; see jobs.h. Owns no state.
 */
#include "common/jobs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/job_options.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/statements.h"
#include "common/text.h"
#include "common/trace.h"

enum { INSERT, INSERT_MANY, INSERT_UNIQUE, RESOLVE, REPLACE, FIND_TASK, DECLARE };

#define COLUMNS                                                                                    \
    "id, task, queue, priority, args, kwargs, max_attempts, scheduled_at, enqueued_at,"            \
    " expires_at, headers, traceparent, retention_s, limit_key"

/* Queue and attempts come from the caller, else from the task's declaration, else from here. */
#define QUEUE "coalesce(n.queue, t.queue, 'default')"
#define ATTEMPTS_OF "coalesce(nullif(n.max_attempts, 0), t.max_attempts, 10)"

/* Arrays with one element a job. One that holds nothing but NULLs is given as NULL. */
#define GIVEN                                                                                      \
    "unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::jsonb[], $6::jsonb[],"         \
    " $7::int[], $8::timestamptz[], $9::timestamptz[], $10::jsonb[], $11::text[], $12::int[],"     \
    " $13::text[]"
#define GIVEN_NAMES                                                                                \
    "id, task, queue, priority, args, kwargs, max_attempts, scheduled_at, expires_at, headers,"    \
    " traceparent, retention_s, limit_key"
#define VALUES                                                                                     \
    "n.id, n.task, " QUEUE ", n.priority, coalesce(n.args, '[]'), coalesce(n.kwargs, '{}'),"       \
    " " ATTEMPTS_OF ", coalesce(n.scheduled_at, now()),"                                           \
    " CASE WHEN n.scheduled_at IS NULL THEN now() END,"                                            \
    " n.expires_at, n.headers, n.traceparent, n.retention_s, n.limit_key"
#define WITH_KEYS                                                                                  \
    ", $14::text[], $15::int[]) WITH ORDINALITY AS n (" GIVEN_NAMES ", unique_key,"                \
    " unique_ttl_s, place)"
/* Of a key, for nobody knows when the transaction will be over. */
#define UNTIL "clock_timestamp() + n.unique_ttl_s * interval '1 second'"

static const struct db_stmt statements[] = {
    [INSERT] = {"jobs_insert",
                "INSERT INTO jobs (" COLUMNS ") SELECT " VALUES
                " FROM (SELECT $1::uuid AS id, $2::text AS task, $3::text AS queue,"
                " $4::smallint AS priority, $5::jsonb AS args, $6::jsonb AS kwargs,"
                " $7::int AS max_attempts, $8::timestamptz AS scheduled_at,"
                " $9::timestamptz AS expires_at, $10::jsonb AS headers, $11::text AS traceparent,"
                " nullif($12::int, 0) AS retention_s, $13::text AS limit_key) n"
                " LEFT JOIN tasks t ON t.name = n.task RETURNING queue",
                13},
    [INSERT_MANY] = {"jobs_insert_many",
                     "INSERT INTO jobs (" COLUMNS ") SELECT " VALUES " FROM " GIVEN
                     ") WITH ORDINALITY AS n (" GIVEN_NAMES ", place)"
                     " LEFT JOIN tasks t ON t.name = n.task ORDER BY n.place RETURNING id, queue",
                     13},
    /* The same for jobs of which some have a unique key: without those whose key is held. */
    [INSERT_UNIQUE] = {"jobs_insert_unique",
                       "INSERT INTO jobs (" COLUMNS ", unique_key, unique_until) SELECT " VALUES
                       ", n.unique_key, " UNTIL " FROM " GIVEN WITH_KEYS
                       " LEFT JOIN tasks t ON t.name = n.task"
                       " ORDER BY n.place"
                       " ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL"
                       " AND finished_at IS NULL DO NOTHING RETURNING id, queue",
                       15},
    [RESOLVE] = {"jobs_resolve_unique",
                 "SELECT r.holder, r.outcome FROM unnest($1::text[], $2::text[]) WITH ORDINALITY"
                 " AS n (unique_key, on_conflict, place),"
                 " LATERAL resolve_unique_key(n.unique_key, n.on_conflict) r ORDER BY n.place",
                 2},
    /* The jobs under the ids of those that they replace, which resolve_unique_key() has locked. */
    [REPLACE] = {"jobs_replace",
                 "UPDATE jobs j SET task = n.task, queue = " QUEUE ", priority = n.priority,"
                 " args = coalesce(n.args, '[]'), kwargs = coalesce(n.kwargs, '{}'),"
                 " max_attempts = j.attempt + " ATTEMPTS_OF ", state = 'PENDING',"
                 " scheduled_at = coalesce(n.scheduled_at, now()),"
                 " enqueued_at = CASE WHEN n.scheduled_at IS NULL THEN now() END,"
                 " expires_at = n.expires_at, headers = n.headers, traceparent = n.traceparent,"
                 " retention_s = n.retention_s, limit_key = n.limit_key, parked_on = NULL,"
                 " unique_until = " UNTIL " FROM " GIVEN WITH_KEYS
                 " LEFT JOIN tasks t ON t.name = n.task WHERE j.id = n.id"
                 " RETURNING j.id, j.queue",
                 15},
    [FIND_TASK] = {"jobs_find_task", "SELECT queue, fast FROM tasks WHERE name = $1", 1},
    [DECLARE] = {"jobs_declare_task",
                 "INSERT INTO tasks (name, queue, max_attempts, fast, retention_s)"
                 " VALUES ($1, $2, $3, $4, nullif($5::int, 0))"
                 " ON CONFLICT (name) DO UPDATE SET queue = excluded.queue,"
                 " max_attempts = excluded.max_attempts, fast = excluded.fast,"
                 " retention_s = excluded.retention_s, seen_at = now()",
                 5},
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
    if (!rc)
        rc = check_json(new_job->kwargs, JSON_OBJECT, "kwargs", e);
    return rc ? rc : job_options_check(new_job, e);
}

/* ---- a job as parameters ---- */

/* The parameters of the statements that insert, in their order. Behind ALWAYS come those that most
 * jobs say nothing about. */
enum {
    IDS,
    TASKS,
    QUEUES,
    PRIORITIES,
    ARGS,
    KWARGS,
    ATTEMPTS,
    ALWAYS,
    TIMES = ALWAYS,
    EXPIRIES,
    HEADERS,
    TRACES,
    RETENTIONS,
    LIMIT_KEYS,
    PLAIN,
    KEYS = PLAIN,
    TTLS,
    ARRAYS,
};

/* Times, numbers and the trace of one job as texts; NULL where it says nothing. */
struct texts {
    char scheduled[CLOCK_TEXT_SIZE];
    char expires[CLOCK_TEXT_SIZE];
    char trace[TRACE_TEXT_SIZE];
    char priority[24];
    char attempts[24];
    char retention[24];
    char ttl[24];
    const char *values[ARRAYS];
};

static const char *number(char text[24], int64_t value)
{
    (void)snprintf(text, 24, "%" PRId64, value);
    return text;
}

static const char *time_or_null(char text[CLOCK_TEXT_SIZE], int64_t us)
{
    if (us)
        clock_format(us, text);
    return us ? text : NULL;
}

/* Versions that are not known yet are written as the one that is. */
static const char *trace_or_null(char text[TRACE_TEXT_SIZE], const char *traceparent)
{
    struct trace trace;

    if (!traceparent || !trace_parse(traceparent, &trace))
        return NULL;
    trace_format(&trace, text);
    return text;
}

static void write_texts(const struct job_new *job, const struct uuid *id, struct texts *texts)
{
    const char *const values[ARRAYS] = {
        [IDS] = id->text,
        [TASKS] = job->task,
        [QUEUES] = job->queue,
        [PRIORITIES] = number(texts->priority, job->priority),
        [ARGS] = job->args,
        [KWARGS] = job->kwargs,
        [ATTEMPTS] = number(texts->attempts, job->max_attempts),
        [TIMES] = time_or_null(texts->scheduled, job->scheduled_us),
        [EXPIRIES] = time_or_null(texts->expires, job->expires_us),
        [HEADERS] = job->headers,
        [TRACES] = trace_or_null(texts->trace, job->traceparent),
        [RETENTIONS] = job->retention_s ? number(texts->retention, job->retention_s) : NULL,
        [LIMIT_KEYS] = job->limit_key,
        [KEYS] = job->unique_key,
        [TTLS] = job->unique_ttl_s ? number(texts->ttl, job->unique_ttl_s) : NULL,
    };

    memcpy(texts->values, values, sizeof values);
}

struct arrays {
    struct buf items[ARRAYS];
    bool used[ARRAYS]; /* one of its elements is not NULL */
};

static void arrays_init(struct arrays *arrays)
{
    for (int i = 0; i < ARRAYS; i++) {
        buf_init(&arrays->items[i], JOBS_INSERT_BYTES);
        arrays->used[i] = i < ALWAYS;
    }
}

static void arrays_release(struct arrays *arrays)
{
    for (int i = 0; i < ARRAYS; i++)
        buf_release(&arrays->items[i]);
}

static void add_job(struct arrays *arrays, const struct uuid *id, const struct job_new *job)
{
    struct texts texts;

    write_texts(job, id, &texts);
    for (int i = 0; i < ARRAYS; i++) {
        db_array_add(&arrays->items[i], texts.values[i]);
        arrays->used[i] |= texts.values[i] != NULL;
    }
}

/* Ends the arrays and runs a statement that takes the first `count` of them. */
static enum err_code run_arrays(struct db *db, const struct db_stmt *stmt, struct arrays *arrays,
                                struct db_result **ret_rows, struct err *e)
{
    struct db_param params[ARRAYS];

    for (int i = 0; i < stmt->params; i++) {
        db_array_end(&arrays->items[i]);
        if (arrays->items[i].overflow)
            return err_set(e, ERR_INVALID, "the jobs of one statement have more than %d bytes",
                           JOBS_INSERT_BYTES);
        params[i] = DB_TEXT(arrays->used[i] ? arrays->items[i].data : NULL);
    }
    return db_query(db, stmt, (struct db_args){params, (size_t)stmt->params}, ret_rows, e);
}

static struct job_ready ready_of(const struct job_new *job)
{
    return (struct job_ready){.id = *job->id.text ? job->id : uuid_v7(),
                              .priority = job->priority,
                              .is_ready = job->scheduled_us == 0};
}

static void set_queue(struct job_ready *ready, const char *queue)
{
    (void)snprintf(ready->queue, sizeof ready->queue, "%s", queue);
}

/* ---- jobs without a unique key ---- */

static enum err_code insert_plain(struct db *db, const struct job_new *new_job,
                                  struct job_ready *ret_ready, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct job_ready ready = ready_of(new_job);
    struct db_param params[PLAIN];
    struct texts texts;
    enum err_code rc;

    write_texts(new_job, &ready.id, &texts);
    for (int i = 0; i < PLAIN; i++)
        params[i] = DB_TEXT(texts.values[i]);
    rc = db_query(db, &statements[INSERT], (struct db_args){params, PLAIN}, &rows, e);
    if (rc)
        return rc;
    set_queue(&ready, db_text(rows, 0, 0));
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
        set_queue(&ready[at], db_text(rows, row, 1));
    }
    return ERR_OK;
}

static enum err_code insert_plain_many(struct db *db, const struct job_new *jobs, size_t count,
                                       struct job_ready *ready, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(arrays_release) struct arrays arrays;
    enum err_code rc;

    arrays_init(&arrays);
    for (size_t i = 0; i < count; i++)
        add_job(&arrays, &ready[i].id, &jobs[i]);
    rc = run_arrays(db, &statements[INSERT_MANY], &arrays, &rows, e);
    if (rc)
        return rc;
    if ((size_t)db_rows(rows) != count)
        return err_set(e, ERR_INTERNAL, "%d jobs were inserted, not %zu", db_rows(rows), count);
    return read_queues(rows, ready, count, e);
}

/* ---- jobs with a unique key ---- */

enum { UNIQUE_ROUNDS = 100 };

/* A job without an outcome yet. Lists of them are in the order of their keys, so that two
 * transactions that meet at some of them wait for each other in one direction only. */
struct open_job {
    const struct job_new *job;
    struct job_ready *ready;
};

static int compare_open(const void *a, const void *b)
{
    const struct open_job *x = a;
    const struct open_job *y = b;
    const char *one = x->job->unique_key;
    const char *two = y->job->unique_key;
    int order = one && two ? strcmp(one, two) : (one == NULL) - (two == NULL);

    return order ? order : (x->job > y->job) - (x->job < y->job);
}

/* Inserts those whose key is free; the others stay in the list. */
static enum err_code insert_open(struct db *db, struct open_job *open, size_t *count, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(arrays_release) struct arrays arrays;
    size_t kept = 0;
    int row = 0;
    enum err_code rc;

    arrays_init(&arrays);
    for (size_t i = 0; i < *count; i++)
        add_job(&arrays, &open[i].ready->id, open[i].job);
    rc = run_arrays(db, &statements[INSERT_UNIQUE], &arrays, &rows, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < *count; i++) {
        if (row < db_rows(rows) && strcmp(db_text(rows, row, 0), open[i].ready->id.text) == 0)
            set_queue(open[i].ready, db_text(rows, row++, 1));
        else
            open[kept++] = open[i];
    }
    *count = kept;
    if (row < db_rows(rows))
        return err_set(e, ERR_INTERNAL, "the database returned jobs out of their order");
    return ERR_OK;
}

static enum err_code ask_holders(struct db *db, const struct open_job *open, size_t count,
                                 struct db_result **ret_rows, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf keys;
    AUTO_VALUE(buf_release) struct buf conflicts;

    buf_init(&keys, JOBS_INSERT_BYTES);
    buf_init(&conflicts, JOBS_INSERT_BYTES);
    for (size_t i = 0; i < count; i++) {
        bool replaces = open[i].job->on_conflict == JOB_CONFLICT_REPLACE;

        db_array_add(&keys, open[i].job->unique_key);
        db_array_add(&conflicts, replaces ? "replace" : "keep");
    }
    db_array_end(&keys);
    db_array_end(&conflicts);
    return db_query(db, &statements[RESOLVE], DB_ARGS(DB_TEXT(keys.data), DB_TEXT(conflicts.data)),
                    ret_rows, e);
}

static enum err_code take_kept(const struct open_job *open, const char *holder, struct err *e)
{
    if (open->job->on_conflict == JOB_CONFLICT_REFUSE)
        return err_set(e, ERR_CONFLICT, "unique key \"%.100s\" is held by job %s",
                       open->job->unique_key, holder);
    (void)uuid_parse(holder, &open->ready->id);
    open->ready->outcome = JOB_KEPT;
    open->ready->is_ready = false;
    return ERR_OK;
}

/* Writes jobs over those that they replace; `ready` has the ids. Of several with one key, which
 * stand together, the last counts. */
static enum err_code replace(struct db *db, struct open_job *open, size_t count, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(arrays_release) struct arrays arrays;
    enum err_code rc;
    int row = 0;

    arrays_init(&arrays);
    for (size_t i = 0; i < count; i++) {
        bool last =
            i + 1 == count || strcmp(open[i].ready->id.text, open[i + 1].ready->id.text) != 0;

        open[i].ready->outcome = JOB_REPLACED;
        open[i].ready->is_ready &= last;
        if (last)
            add_job(&arrays, &open[i].ready->id, open[i].job);
    }
    rc = count > 0 ? run_arrays(db, &statements[REPLACE], &arrays, &rows, e) : ERR_OK;
    for (size_t i = 0; !rc && i < count; i++) {
        for (int tries = 0; tries < db_rows(rows); tries++) {
            if (strcmp(db_text(rows, row, 0), open[i].ready->id.text) == 0)
                break;
            row = row + 1 < db_rows(rows) ? row + 1 : 0;
        }
        set_queue(open[i].ready, db_text(rows, row, 1));
    }
    return rc;
}

/* Gives an outcome to those whose key is held; the others stay in the list. */
static enum err_code resolve(struct db *db, struct open_job *open, size_t *count, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO(mem_free) struct open_job *replacing = mem_array(*count, sizeof replacing[0]);
    size_t replacing_count = 0;
    size_t left = 0;
    enum err_code rc = ask_holders(db, open, *count, &rows, e);

    for (size_t i = 0; !rc && i < *count; i++) {
        const char *outcome = db_text(rows, (int)i, 1);

        if (strcmp(outcome, "again") == 0) {
            open[left++] = open[i];
        } else if (strcmp(outcome, "kept") == 0) {
            rc = take_kept(&open[i], db_text(rows, (int)i, 0), e);
        } else {
            (void)uuid_parse(db_text(rows, (int)i, 0), &open[i].ready->id);
            replacing[replacing_count++] = open[i];
        }
    }
    *count = left;
    return rc ? rc : replace(db, replacing, replacing_count, e);
}

static enum err_code insert_in_rounds(struct db *db, struct open_job *open, size_t count,
                                      struct err *e)
{
    for (int round = 0; round < UNIQUE_ROUNDS; round++) {
        enum err_code rc = insert_open(db, open, &count, e);

        if (!rc && count > 0)
            rc = resolve(db, open, &count, e);
        if (rc || count == 0)
            return rc;
    }
    return err_set(e, ERR_UNAVAILABLE, "the unique key \"%.100s\" changes hands too fast",
                   open[0].job->unique_key);
}

/* All or none, so in a transaction. */
static enum err_code insert_unique(struct db *db, const struct job_new *jobs, size_t count,
                                   struct job_ready *ready, struct err *e)
{
    AUTO(mem_free) struct open_job *open = mem_array(count, sizeof open[0]);
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    enum err_code rc = db_in_transaction(db) ? ERR_OK : db_begin(db, &tx, e);

    for (size_t i = 0; i < count; i++)
        open[i] = (struct open_job){&jobs[i], &ready[i]};
    qsort(open, count, sizeof open[0], compare_open);
    if (!rc)
        rc = insert_in_rounds(db, open, count, e);
    return rc || !tx.db ? rc : db_commit(&tx, e);
}

enum err_code jobs_insert(struct db *db, const struct job_new *new_job, struct job_ready *ret_ready,
                          struct err *e)
{
    struct job_ready ready;
    enum err_code rc = jobs_check(new_job, e);

    if (rc)
        return rc;
    if (!new_job->unique_key)
        return insert_plain(db, new_job, ret_ready, e);
    ready = ready_of(new_job);
    rc = insert_unique(db, new_job, 1, &ready, e);
    if (!rc)
        *ret_ready = ready;
    return rc;
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
        ret_ready[i] = ready_of(&jobs[i]);
        unique |= jobs[i].unique_key != NULL;
    }
    if (count == 0)
        return ERR_OK;
    return unique ? insert_unique(db, jobs, count, ret_ready, e)
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

enum err_code jobs_declare_task(struct db *db, const char *name, const char *queue,
                                int max_attempts, bool fast, int64_t retention_s, struct err *e)
{
    return db_exec(db, &statements[DECLARE],
                   DB_ARGS(DB_TEXT(name), DB_TEXT(queue), DB_INT(max_attempts), DB_BOOL(fast),
                           DB_INT(retention_s)),
                   NULL, e);
}
