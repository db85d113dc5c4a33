/* SPDX-License-Identifier: MIT
 *
 * tests.tasks.poison(kind): what no author should write, in build/faults/ alone. Each kind harms
 * its process, its connection or the machine in a way of its own; test_poison.py looks at who
 * notices.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/db.h"
#include "common/mem.h"
#include "worker/task.h"

enum { DESCRIPTORS = 256, PIECE = 16 * 1024 * 1024 };

/* What no compiler sees through. */
static volatile int sink;
static volatile bool is_over;

static enum task_outcome poison_exit(struct task_run *run, struct err *e)
{
    (void)run;
    (void)e;
    exit(0); /* NOLINT: not a thread's to do, which is the point */
}

static enum task_outcome poison_abort(struct task_run *run, struct err *e)
{
    (void)run;
    (void)e;
    abort();
}

static enum task_outcome poison_loop(struct task_run *run, struct err *e)
{
    (void)run;
    (void)e;
    while (!is_over)
        sink++;
    return TASK_DONE;
}

static int descend(volatile char *above)
{
    volatile char frame[4096];

    if (is_over)
        return 0;
    frame[0] = *above;
    frame[sizeof frame - 1] = (char)(descend(frame) + 1);
    return frame[sizeof frame - 1];
}

static enum task_outcome poison_stack(struct task_run *run, struct err *e)
{
    volatile char first = 1;

    (void)run;
    (void)e;
    sink = descend(&first);
    return TASK_DONE;
}

/* Until there is none left: the test gives the process a limit of its own. */
static enum task_outcome poison_memory(struct task_run *run, struct err *e)
{
    (void)run;
    (void)e;
    while (!is_over) {
        char *piece = malloc(PIECE);

        if (!piece)
            abort();
        memset(piece, 1, PIECE);
        sink = piece[PIECE - 1];
    }
    return TASK_DONE;
}

/* Everything that the process has open: its connections, those of others, its own pipes. */
static enum task_outcome poison_close(struct task_run *run, struct err *e)
{
    (void)run;
    for (int fd = STDERR_FILENO + 1; fd < DESCRIPTORS; fd++)
        (void)close(fd);
    (void)err_set(e, ERR_INTERNAL, "closed what was open");
    return TASK_RETRY;
}

/* Says that it is done, with what it began neither committed nor rolled back. */
static enum task_outcome poison_transaction(struct task_run *run, struct err *e)
{
    if (db_run_script(run->db, "BEGIN; UPDATE products SET stock_quantity = 0", e))
        return task_outcome_of(e);
    return TASK_DONE;
}

/* The same by a transaction of the driver's own, of which nobody but the driver knows. */
static enum task_outcome poison_begin(struct task_run *run, struct err *e)
{
    static const struct db_stmt empty = {"poison_begin", "UPDATE products SET stock_quantity = 0",
                                         0};
    struct db_tx own = {0};

    if (db_begin(run->db, &own, e) || db_exec(run->db, &empty, DB_NO_ARGS, NULL, e))
        return task_outcome_of(e);
    return TASK_DONE;
}

/* And lost before it returned. */
static enum task_outcome poison_lose(struct task_run *run, struct err *e)
{
    enum task_outcome outcome = poison_begin(run, e);

    db_disconnect(run->db);
    return outcome;
}

/* A level that is none must not cost the lines of others, which are written with it. */
static enum task_outcome poison_level(struct task_run *run, struct err *e)
{
    (void)e;
    task_log(run, JOB_LOG_INFO, "before");
    task_log(run, (enum job_log_level)77, "odd");
    return TASK_DONE;
}

static enum task_outcome poison_forbidden(struct task_run *run, struct err *e)
{
    static const struct db_stmt drop = {"poison_forbidden", "TRUNCATE products", 0};

    if (task_begin(run, e) || db_exec(run->db, &drop, DB_NO_ARGS, NULL, e))
        return task_outcome_of(e);
    return TASK_DONE;
}

/* Believes what some server says of when to come again. */
static enum task_outcome poison_later(struct task_run *run, struct err *e)
{
    run->retry_after_us = INT64_MAX;
    (void)err_set(e, ERR_UNAVAILABLE, "come again when the sun is cold");
    return TASK_RETRY;
}

/* Forgets that there are two of it from here on. */
static enum task_outcome poison_fork(struct task_run *run, struct err *e)
{
    if (task_begin(run, e) ||
        db_run_script(run->db, "UPDATE products SET stock_quantity = stock_quantity + 1", e))
        return task_outcome_of(e);
    if (fork() < 0)
        (void)err_set(e, ERR_INTERNAL, "cannot fork");
    return e->code ? TASK_RETRY : TASK_DONE;
}

static enum task_outcome poison_lock(struct task_run *run, struct err *e)
{
    if (db_run_script(run->db, "SELECT pg_advisory_lock(4711)", e))
        return task_outcome_of(e);
    (void)err_set(e, ERR_INTERNAL, "took a lock and kept it");
    return TASK_RETRY;
}

/* Ends the transaction that its end was to be written in. */
static enum task_outcome poison_commit(struct task_run *run, struct err *e)
{
    if (task_begin(run, e) ||
        db_run_script(run->db, "UPDATE products SET stock_quantity = stock_quantity", e) ||
        db_run_script(run->db, "COMMIT", e))
        return task_outcome_of(e);
    return TASK_DONE;
}

/* Heeds no error of a statement in its transaction. */
static enum task_outcome poison_failed(struct task_run *run, struct err *e)
{
    if (task_begin(run, e) || db_run_script(run->db, "UPDATE products SET stock_quantity = 0", e))
        return task_outcome_of(e);
    (void)!db_run_script(run->db, "SELECT 1 / 0", NULL);
    return TASK_DONE;
}

/* What it asks of its session is not meant for the jobs that come after it. */
static enum task_outcome change_session(struct task_run *run, const struct db_stmt *stmt,
                                        struct err *e)
{
    if (db_exec(run->db, stmt, DB_NO_ARGS, NULL, e))
        return task_outcome_of(e);
    return TASK_DONE;
}

static enum task_outcome poison_path(struct task_run *run, struct err *e)
{
    static const struct db_stmt set = {"poison_path", "SET search_path = pg_catalog", 0};

    return change_session(run, &set, e);
}

static enum task_outcome poison_table(struct task_run *run, struct err *e)
{
    static const struct db_stmt create = {
        "poison_table", "CREATE TEMPORARY TABLE jobs (id uuid, state text, attempt integer)", 0};

    return change_session(run, &create, e);
}

static enum task_outcome poison_function(struct task_run *run, struct err *e)
{
    static const struct db_stmt select = {
        "poison_function", "SELECT set_config('search_path', 'pg_catalog', false)", 0};

    return change_session(run, &select, e);
}

static enum task_outcome poison_statements(struct task_run *run, struct err *e)
{
    if (db_run_script(run->db, "DISCARD ALL", e))
        return task_outcome_of(e);
    return TASK_DONE;
}

/* What it gives as its result cannot be kept, with an effect and without one. */
static enum task_outcome poison_nul(struct task_run *run, struct err *e)
{
    if (task_begin(run, e) || db_run_script(run->db, "UPDATE products SET stock_quantity = 0", e))
        return task_outcome_of(e);
    run->result = mem_dup("{\"text\":\"\\u0000\"}");
    return TASK_DONE;
}

static enum task_outcome poison_cut(struct task_run *run, struct err *e)
{
    (void)e;
    run->result = mem_dup("{\"text\":");
    return TASK_DONE;
}

static enum task_outcome run_poison(struct task_run *run, struct err *e)
{
    static const struct {
        const char *name;
        enum task_outcome (*run)(struct task_run *run, struct err *e);
    } kinds[] = {
        {"exit", poison_exit},
        {"abort", poison_abort},
        {"loop", poison_loop},
        {"stack", poison_stack},
        {"memory", poison_memory},
        {"close", poison_close},
        {"lock", poison_lock},
        {"transaction", poison_transaction},
        {"begin", poison_begin},
        {"lose", poison_lose},
        {"commit", poison_commit},
        {"failed", poison_failed},
        {"path", poison_path},
        {"table", poison_table},
        {"forbidden", poison_forbidden},
        {"level", poison_level},
        {"later", poison_later},
        {"fork", poison_fork},
        {"function", poison_function},
        {"statements", poison_statements},
        {"nul", poison_nul},
        {"cut", poison_cut},
    };
    const char *kind = task_arg_text(run, 0);

    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (kind && strcmp(kinds[i].name, kind) == 0)
            return kinds[i].run(run, e);
    (void)err_set(e, ERR_INVALID, "poison takes the name of a kind");
    return TASK_FAIL;
}

extern const struct task task_poison;
const struct task task_poison = {.name = "tests.tasks.poison",
                                 .queue = "default",
                                 .max_attempts = 2,
                                 .soft_limit_s = 1,
                                 .hard_limit_s = 2,
                                 .run = run_poison};

/* The members whose argument is "nul" give a result that cannot be kept, "far" want to be tried
 * again after longer than there is. */
static enum task_outcome run_poison_many(struct task_batch *batch, struct err *e)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct task_member *member = batch->members[i];
        const char *kind = task_arg_text(&member->run, 0);

        if (kind && strcmp(kind, "nul") == 0)
            member->run.result = mem_dup("{\"text\":\"\\u0000\"}");
        if (kind && strcmp(kind, "far") == 0) {
            member->run.retry_after_us = INT64_MAX;
            task_mark(member, TASK_RETRY, ERR_UNAVAILABLE, "later");
        }
    }
    return task_batch_begin(batch, e) ? task_outcome_of(e) : TASK_DONE;
}

extern const struct task task_poison_many;
const struct task task_poison_many = {.name = "tests.tasks.poison_many",
                                      .queue = "default",
                                      .max_attempts = 2,
                                      .soft_limit_s = 5,
                                      .hard_limit_s = 10,
                                      .run_many = run_poison_many,
                                      .batch_max = 16};
