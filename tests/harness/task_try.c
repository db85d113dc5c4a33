/* SPDX-License-Identifier: MIT
 *
 * Trying a task; see task_try.h. All of it happens in one transaction: the state before is a
 * savepoint, and what a state is, a hash of each table's rows. A constraint that is broken from its
 * beginning, and looked at when it is committed, lets nobody commit it.
 */
#include "tests/harness/task_try.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <libpq-fe.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"
#include "worker/task_end.h"

/* Connections that anybody in this process has opened: the linker turns the calls over to these. */
static atomic_int opened;

#define COUNTED(name, parameters, arguments)                                                       \
    PGconn *__real_##name parameters;                                                              \
    PGconn *__wrap_##name parameters;                                                              \
    PGconn *__wrap_##name parameters                                                               \
    {                                                                                              \
        atomic_fetch_add(&opened, 1);                                                              \
        return __real_##name arguments;                                                            \
    }

COUNTED(PQconnectdb, (const char *info), (info))
COUNTED(PQconnectStart, (const char *info), (info))
COUNTED(PQconnectdbParams, (const char *const *keys, const char *const *values, int expand),
        (keys, values, expand))
COUNTED(PQconnectStartParams, (const char *const *keys, const char *const *values, int expand),
        (keys, values, expand))
COUNTED(PQsetdbLogin,
        (const char *host, const char *port, const char *options, const char *tty, const char *name,
         const char *login, const char *password),
        (host, port, options, tty, name, login, password))

static const struct db_stmt ADD_JOB = {
    "try_add_job",
    "INSERT INTO jobs (id, task, queue, state, attempt, worker, args, kwargs, enqueued_at,"
    " started_at) VALUES (new_job_id(), $1, $2, 'STARTED', 1, 'try', coalesce($3::jsonb, '[]'),"
    " coalesce($4::jsonb, '{}'), now(), now()) RETURNING id",
    4};

/* Each table, the hash of its rows' texts, and how many they are. */
static const struct db_stmt LOOK = {
    "try_look",
    "SELECT c.relname,"
    " query_to_xml(format('SELECT sum(hashtextextended(t::text, 0)::numeric) FROM %I t', "
    "c.relname),"
    "  true, false, '')::text,"
    " query_to_xml(format('SELECT count(*) FROM %I t', c.relname), true, false, '')::text"
    " FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
    " ORDER BY c.relname",
    0};

/* The result as the job's end would write it. */
static const struct db_stmt READ_RESULT = {"try_read_result", "SELECT $1::jsonb", 1};

static const char guard[] =
    "CREATE TEMPORARY TABLE try_guard (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED);"
    " INSERT INTO try_guard VALUES (1), (1)";

static const struct db_stmt SET_ATTEMPT = {"try_set_attempt",
                                           "UPDATE jobs SET attempt = $2 WHERE id = $1", 2};

enum { BY_CONTENT = 1, BY_COUNT = 2 };

static int find_table(const struct db_result *state, const char *name)
{
    for (int row = 0; row < db_rows(state); row++)
        if (strcmp(db_text(state, row, 0), name) == 0)
            return row;
    return -1;
}

static void add_name(char out[TASK_TABLES_MAX], const char *name)
{
    size_t len = strlen(out);

    (void)snprintf(out + len, TASK_TABLES_MAX - len, "%s%s", len ? " " : "", name);
}

/* The tables that differ, their names in a row; those that are new, and those that are gone. */
static void compare(const struct db_result *before, const struct db_result *after, int column,
                    char out[TASK_TABLES_MAX])
{
    out[0] = '\0';
    for (int row = 0; row < db_rows(after); row++) {
        const char *name = db_text(after, row, 0);
        int old = find_table(before, name);

        if (old < 0 || strcmp(db_text(before, old, column), db_text(after, row, column)) != 0)
            add_name(out, name);
    }
    for (int row = 0; row < db_rows(before); row++)
        if (find_table(after, db_text(before, row, 0)) < 0)
            add_name(out, db_text(before, row, 0));
}

static enum err_code look(struct db *db, struct db_result **ret_state, struct err *e)
{
    return db_query(db, &LOOK, DB_NO_ARGS, ret_state, e);
}

struct trial {
    const struct task_try_env *env;
    const struct task *task;
    struct uuid id;
    json_t *args;   /* owned */
    json_t *kwargs; /* owned */
    int connections;
};

static void trial_release(struct trial *trial)
{
    json_decref(trial->args);
    json_decref(trial->kwargs);
}

static enum err_code begin(struct trial *trial, const char *args, const char *kwargs, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        json_read(args ? args : "[]", strlen(args ? args : "[]"), SIZE_MAX, &trial->args, e);

    if (!rc)
        rc = json_read(kwargs ? kwargs : "{}", strlen(kwargs ? kwargs : "{}"), SIZE_MAX,
                       &trial->kwargs, e);
    if (!rc)
        rc = db_query(trial->env->db, &ADD_JOB,
                      DB_ARGS(DB_TEXT(trial->task->name), DB_TEXT(trial->task->queue),
                              DB_TEXT(args), DB_TEXT(kwargs)),
                      &rows, e);
    if (!rc)
        (void)uuid_parse(db_text(rows, 0, 0), &trial->id);
    return rc;
}

/* ---- one run ---- */

/* What a worker makes of it; `cut`: it dies before the commit. */
static enum task_outcome end_run(const struct trial *trial, struct task_run *run, struct db_tx *tx,
                                 enum task_outcome outcome, bool cut, struct err *e)
{
    outcome = task_end_judge(trial->env->db, tx, outcome, e);
    if (outcome == TASK_DONE && task_check_result(run, e))
        outcome = TASK_FAIL;
    if (outcome == TASK_DONE && run->result &&
        db_exec(trial->env->db, &READ_RESULT, DB_ARGS(DB_TEXT(run->result)), NULL, NULL)) {
        (void)err_set(e, ERR_INVALID, "the result is no JSON that PostgreSQL takes");
        outcome = TASK_FAIL;
    }
    if (outcome == TASK_DONE && !cut && tx->db && db_commit(tx, e))
        outcome = TASK_RETRY;
    db_rollback(tx);
    if (db_transaction_is_open(trial->env->db)) /* its own, which it has left */
        db_rollback(&(struct db_tx){.db = trial->env->db});
    if ((outcome == TASK_RETRY || outcome == TASK_FAIL) && !e->code)
        (void)err_set(e, ERR_INTERNAL, "the task gave no reason");
    return outcome;
}

static enum task_outcome call_many(const struct trial *trial, struct task_run *run, bool cut,
                                   struct err *e)
{
    struct task_member member = {.run = *run};
    struct task_member *members[] = {&member};
    struct task_batch batch = {.members = members,
                               .count = 1,
                               .deadline_us = run->deadline_us,
                               .conf = run->conf,
                               .db = run->db,
                               .gateway = run->gateway,
                               .mailer = run->mailer};
    enum task_outcome outcome;

    member.run.batch = &batch;
    outcome = trial->task->run_many(&batch, e);
    if (outcome == TASK_DONE && task_is_marked(&member)) {
        outcome = member.outcome;
        *e = *member.error;
    }
    outcome = end_run(trial, &member.run, &batch.tx, outcome, cut, e);
    mem_free(member.error);
    *run = member.run;
    return outcome;
}

/* For the fences of checkpoints. */
static enum err_code set_attempt(const struct trial *trial, int attempt, struct err *e)
{
    int64_t found = 0;
    enum err_code rc = db_exec(trial->env->db, &SET_ATTEMPT,
                               DB_ARGS(DB_TEXT(trial->id.text), DB_INT(attempt)), &found, e);

    if (!rc && found == 0)
        rc = err_set(e, ERR_INTERNAL, "the task has undone or deleted the row of its own job");
    return rc;
}

/* Whether the trial can go on behind a run: the task may have ended all of it. What it has set for
 * the session is its own. */
static enum err_code check_session(struct db *db, struct err *e)
{
    if (!db_is_connected(db))
        return err_set(e, ERR_UNAVAILABLE,
                       "the session was lost while the task ran, by the task"
                       " or by the server: nothing is proved");
    if (!db_in_transaction(db))
        return err_set(e, ERR_INTERNAL,
                       "the task itself ended the transaction that it is tried"
                       " in: COMMIT and ROLLBACK are its worker's to say");
    if (db_transaction_is_broken(db))
        return err_set(e, ERR_INTERNAL,
                       "a script of the task failed outside of task_begin(),"
                       " where it cannot be tried");
    return db_run_script(db, "RESET ROLE; RESET ALL", e);
}

/* One run, as a slot would do it; `cut`: its worker dies before the commit. The row is in its first
 * attempt again afterwards, so that only what the task changes differs. */
static enum err_code run_once(struct trial *trial, int attempt, bool cut, struct task_end *end,
                              struct err *e)
{
    enum err_code rc = set_attempt(trial, attempt, e);
    int before = atomic_load(&opened);
    struct task_run run = {.id = trial->id,
                           .attempt = attempt,
                           .max_attempts = trial->task->max_attempts,
                           .args = trial->args,
                           .kwargs = trial->kwargs,
                           .deadline_us = clock_mono_us() + trial->task->soft_limit_s * US_PER_S,
                           .conf = trial->env->conf,
                           .db = trial->env->db,
                           .gateway = trial->env->gateway,
                           .mailer = trial->env->mailer};

    if (rc)
        return rc;
    if (trial->task->run_many)
        end->outcome = call_many(trial, &run, cut, &end->error);
    else
        end->outcome =
            end_run(trial, &run, &run.tx, trial->task->run(&run, &end->error), cut, &end->error);
    trial->connections += atomic_load(&opened) - before;
    end->result = run.result;
    end->follow_ups = run.follow_up_count;
    mem_free(run.follow_ups);
    rc = check_session(trial->env->db, e);
    return rc ? rc : set_attempt(trial, 1, e);
}

/* ---- what several runs do ---- */

static bool ends_alike(const struct task_end *a, const struct task_end *b)
{
    return a->outcome == b->outcome && a->error.code == b->error.code;
}

/* Done, and done once more. The state in between goes to `ret_done`. */
static enum err_code run_twice(struct trial *trial, const struct db_result *before,
                               struct task_proof *proof, struct db_result **ret_done, struct err *e)
{
    AUTO(db_result_free) struct db_result *done = NULL;
    AUTO(db_result_free) struct db_result *again = NULL;
    enum err_code rc = run_once(trial, 1, false, &proof->first, e);

    if (!rc)
        rc = look(trial->env->db, &done, e);
    if (!rc)
        rc = run_once(trial, 2, false, &proof->second, e);
    if (!rc)
        rc = look(trial->env->db, &again, e);
    if (rc)
        return rc;
    compare(before, done, BY_CONTENT, proof->touched);
    compare(done, again, BY_CONTENT, proof->changed);
    proof->is_idempotent = !*proof->changed && ends_alike(&proof->first, &proof->second);
    *ret_done = TAKE(done);
    return ERR_OK;
}

/* A run that is cut off before its commit, of which nothing is told but what it leaves. */
static enum err_code cut_off(struct trial *trial, struct db_result **ret_left, struct err *e)
{
    struct task_end end = {0};
    enum err_code rc = run_once(trial, 1, true, &end, e);

    mem_free(end.result);
    return rc ? rc : look(trial->env->db, ret_left, e);
}

/* What a run leaves that was cut off was written outside of its transaction; another one that is
 * cut off likewise must find it as it is to be. */
static enum err_code cut_off_again(struct trial *trial, const struct db_result *before,
                                   struct task_proof *proof, struct err *e)
{
    AUTO(db_result_free) struct db_result *left = NULL;
    AUTO(db_result_free) struct db_result *again = NULL;
    enum err_code rc = cut_off(trial, &left, e);

    if (rc)
        return rc;
    compare(before, left, BY_CONTENT, proof->left);
    if (!*proof->left)
        return ERR_OK;
    rc = cut_off(trial, &again, e);
    if (!rc)
        compare(left, again, BY_CONTENT, proof->left_again);
    return rc;
}

/* Cut off before the commit, and then run to the end: as if it had run once? Ids and times may be
 * others, so rows are counted. */
static enum err_code run_after_crash(struct trial *trial, const struct db_result *before,
                                     const struct db_result *done, struct task_proof *proof,
                                     struct err *e)
{
    AUTO(db_result_free) struct db_result *after = NULL;
    enum err_code rc = cut_off_again(trial, before, proof, e);

    if (!rc)
        rc = run_once(trial, 2, false, &proof->after_crash, e);
    if (!rc)
        rc = look(trial->env->db, &after, e);
    if (rc)
        return rc;
    compare(done, after, BY_COUNT, proof->after_cut);
    proof->survives_a_crash =
        !*proof->left_again && !*proof->after_cut && ends_alike(&proof->first, &proof->after_crash);
    return ERR_OK;
}

static enum err_code prove(struct trial *trial, const char *args, const char *kwargs,
                           struct task_proof *proof, struct err *e)
{
    AUTO(db_result_free) struct db_result *before = NULL;
    AUTO(db_result_free) struct db_result *done = NULL;
    /* Whatever other programs commit meanwhile is not seen. */
    enum err_code rc =
        db_run_script(trial->env->db, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", e);

    if (!rc)
        rc = db_run_script(trial->env->db, guard, e);
    if (!rc)
        rc = begin(trial, args, kwargs, e);
    if (!rc)
        rc = look(trial->env->db, &before, e);
    if (!rc)
        rc = db_run_script(trial->env->db, "SAVEPOINT twice", e);
    if (!rc)
        rc = run_twice(trial, before, proof, &done, e);
    if (!rc)
        rc = db_run_script(trial->env->db, "ROLLBACK TO twice", e);
    return rc ? rc : run_after_crash(trial, before, done, proof, e);
}

/* What is committed while the trial is not. */
static enum err_code prove_watched(struct trial *trial, const char *args, const char *kwargs,
                                   struct task_proof *proof, struct err *e)
{
    AUTO(db_close) struct db *watch = db_open(trial->env->conf->database_url, "task_try");
    AUTO(db_result_free) struct db_result *before = NULL;
    AUTO(db_result_free) struct db_result *after = NULL;
    enum err_code rc = look(watch, &before, e);

    if (!rc)
        rc = prove(trial, args, kwargs, proof, e);
    proof->connections = trial->connections;
    if (rc || trial->connections == 0)
        return rc;
    rc = look(watch, &after, e);
    if (rc)
        return rc;
    compare(before, after, BY_CONTENT, proof->outside);
    proof->is_idempotent = proof->is_idempotent && !*proof->outside;
    proof->survives_a_crash = proof->survives_a_crash && !*proof->outside;
    return ERR_OK;
}

enum err_code task_try(const struct task_try_env *env, const struct task *task, const char *args,
                       const char *kwargs, struct task_proof *ret_proof, struct err *e)
{
    AUTO_VALUE(trial_release) struct trial trial = {.env = env, .task = task};
    struct task_proof proof = {.touched = ""};
    enum err_code rc = db_nest(env->db, e);

    if (rc)
        return rc;
    rc = prove_watched(&trial, args, kwargs, &proof, e);
    db_unnest(env->db);
    if (rc)
        task_proof_release(&proof);
    else
        *ret_proof = proof;
    return rc;
}

void task_proof_release(struct task_proof *proof)
{
    mem_free(proof->first.result);
    mem_free(proof->second.result);
    mem_free(proof->after_crash.result);
    *proof = (struct task_proof){.touched = ""};
}
