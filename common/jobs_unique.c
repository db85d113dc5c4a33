/* SPDX-License-Identifier: MIT
 *
 * Inserting jobs of which some have a unique key; see jobs_unique.h. In rounds: insert those whose
 * key is free; ask who holds the others; write over what is to be replaced; and again with those
 * whose key was given back meanwhile. That at most one unfinished job has a key is the matter of an
 * index; what happens when there is one, of resolve_unique_key() in sql/0008_enqueue_options.sql.
 */
#include "common/jobs_unique.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/job_params.h"
#include "common/mem.h"
#include "common/statements.h"

enum { INSERT_UNIQUE, RESOLVE, REPLACE };
enum { UNIQUE_ROUNDS = 100 };

/* Of a key, for nobody knows when the transaction will be over. */
#define UNTIL "clock_timestamp() + n.unique_ttl_s * interval '1 second'"

static const struct db_stmt statements[] = {
    /* Without those whose key is held. */
    [INSERT_UNIQUE] = {"jobs_insert_unique",
                       "INSERT INTO jobs (" JOB_COLUMNS
                       ", unique_key, unique_until) SELECT " JOB_VALUES ", n.unique_key, " UNTIL
                       " FROM " JOB_ARRAYS_GIVEN JOB_ARRAYS_AND_KEYS
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
                 "UPDATE jobs j SET task = n.task, queue = " JOB_QUEUE ", priority = n.priority,"
                 " args = coalesce(n.args, '[]'), kwargs = coalesce(n.kwargs, '{}'),"
                 " max_attempts = j.attempt + " JOB_ATTEMPTS ", state = 'PENDING',"
                 " scheduled_at = coalesce(n.scheduled_at, now()),"
                 " enqueued_at = CASE WHEN n.scheduled_at IS NULL THEN now() END,"
                 " expires_at = n.expires_at, headers = n.headers, traceparent = n.traceparent,"
                 " retention_s = n.retention_s, limit_key = n.limit_key, parked_on = NULL,"
                 " unique_until = " UNTIL " FROM " JOB_ARRAYS_GIVEN JOB_ARRAYS_AND_KEYS
                 " LEFT JOIN tasks t ON t.name = n.task WHERE j.id = n.id"
                 " RETURNING j.id, j.queue",
                 15},
};

DB_STATEMENTS(jobs_unique, statements);

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
    AUTO_VALUE(job_arrays_release) struct job_arrays arrays;
    size_t kept = 0;
    int row = 0;
    enum err_code rc;

    job_arrays_init(&arrays);
    for (size_t i = 0; i < *count; i++)
        job_arrays_add(&arrays, &open[i].ready->id, open[i].job);
    rc = job_arrays_run(db, &statements[INSERT_UNIQUE], &arrays, &rows, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < *count; i++) {
        if (row < db_rows(rows) && strcmp(db_text(rows, row, 0), open[i].ready->id.text) == 0)
            job_ready_set_queue(open[i].ready, db_text(rows, row++, 1));
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
    AUTO_VALUE(job_arrays_release) struct job_arrays arrays;
    enum err_code rc;
    int row = 0;

    job_arrays_init(&arrays);
    for (size_t i = 0; i < count; i++) {
        bool last =
            i + 1 == count || strcmp(open[i].ready->id.text, open[i + 1].ready->id.text) != 0;

        open[i].ready->outcome = JOB_REPLACED;
        open[i].ready->is_ready &= last;
        if (last)
            job_arrays_add(&arrays, &open[i].ready->id, open[i].job);
    }
    rc = count > 0 ? job_arrays_run(db, &statements[REPLACE], &arrays, &rows, e) : ERR_OK;
    for (size_t i = 0; !rc && i < count; i++) {
        for (int tries = 0; tries < db_rows(rows); tries++) {
            if (strcmp(db_text(rows, row, 0), open[i].ready->id.text) == 0)
                break;
            row = row + 1 < db_rows(rows) ? row + 1 : 0;
        }
        job_ready_set_queue(open[i].ready, db_text(rows, row, 1));
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

static enum err_code insert_all(struct db *db, const struct job_new *jobs, size_t count,
                                struct job_ready *ready, struct err *e)
{
    AUTO(mem_free) struct open_job *open = mem_array(count, sizeof open[0]);

    for (size_t i = 0; i < count; i++)
        open[i] = (struct open_job){&jobs[i], &ready[i]};
    qsort(open, count, sizeof open[0], compare_open);
    return insert_in_rounds(db, open, count, e);
}

/* In a transaction of its own; ret_undone: as db_was_undone() says. */
static enum err_code insert_alone(struct db *db, const struct job_new *jobs, size_t count,
                                  struct job_ready *ready, bool *ret_undone, struct err *e)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    enum err_code rc = db_begin(db, &tx, e);

    if (!rc)
        rc = insert_all(db, jobs, count, ready, e);
    if (!rc)
        rc = db_commit(&tx, e);
    *ret_undone = rc && db_was_undone(db);
    return rc;
}

enum err_code jobs_insert_unique(struct db *db, const struct job_new *jobs, size_t count,
                                 struct job_ready *ready, struct err *e)
{
    struct err own = {0};
    bool undone = true;
    enum err_code rc = ERR_OK;

    if (db_in_transaction(db))
        return insert_all(db, jobs, count, ready, e);
    for (int tries = 0; undone && tries < DB_TRIES; tries++) {
        err_clear(&own);
        for (size_t i = 0; tries > 0 && i < count; i++)
            ready[i] = job_ready_of(&jobs[i]);
        rc = insert_alone(db, jobs, count, ready, &undone, &own);
    }
    return rc ? err_set_detail(e, rc, own.detail, "%s", own.text) : ERR_OK;
}
