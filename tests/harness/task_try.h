/* SPDX-License-Identifier: MIT
 *
 * Tries a task in this process, inside a transaction that is rolled back at the end, and tells what
 * it would do when it runs more than once, which it will: its worker may die at any point.
 *
 *   struct task_proof proof;
 *   if (task_try(&env, &task_end_sessions, "[42]", NULL, &proof, &e))
 *       ...
 *   proof.is_idempotent       a second run after a first that was done changed nothing
 *   proof.survives_a_crash    a run after one whose worker died before its commit has the same end
 *
 * A task whose effects all stand in its transaction survives a crash and need not be idempotent:
 * the job's end is in that transaction, so a run that was committed is never repeated. What is
 * written before task_begin(), or done outside of the database, has to stand a repetition.
 *
 * How a run ended is judged as a worker does (worker/task_end.h), results included. One that ends
 * the trial's transaction, or loses its session, ends the trial with an error; nothing of it stays.
 *
 * A task that opens a connection of its own writes past all that: nothing takes it back, neither a
 * crash nor this trial. So connections are counted, and where there was one, the tables are looked
 * at from outside, too: what is committed there, by whomever, is the task's.
 *
 * The program is linked with TASK_TRY_WRAPS of the Makefile, which lets connections be counted.
 * Servers that the task calls are called for real: give it sandboxes.
 */
#ifndef TESTS_HARNESS_TASK_TRY_H
#define TESTS_HARNESS_TASK_TRY_H

#include <stdbool.h>

#include "worker/task.h"

/* What the task works with. Borrowed. */
struct task_try_env {
    const struct conf *conf;
    struct db *db; /* of a migrated database */
    struct gateway *gateway;
    struct mailer *mailer;
};

/* How one run ended. */
struct task_end {
    enum task_outcome outcome;
    struct err error;
    char *result;   /* owned, JSON or NULL */
    int follow_ups; /* jobs that it added */
};

enum { TASK_TABLES_MAX = 1000 };

struct task_proof {
    struct task_end first;
    struct task_end second;        /* after the first was done */
    struct task_end after_crash;   /* after one that was cut off before its commit */
    char touched[TASK_TABLES_MAX]; /* tables that the first run changed: "orders payments" */
    char changed[TASK_TABLES_MAX]; /* those that the second changed once more */
    /* Those that a run changes whose worker dies before its commit: written outside of its
     * transaction; and those that another such run changes once more. */
    char left[TASK_TABLES_MAX];
    char left_again[TASK_TABLES_MAX];
    char after_cut[TASK_TABLES_MAX]; /* those with other numbers of rows after a crash and a run */
    char outside[TASK_TABLES_MAX];   /* those that were changed outside of its transaction */
    int connections;                 /* to PostgreSQL that it opened */
    bool is_idempotent;
    bool survives_a_crash;
};

/* Runs the task with these arguments (JSON array and object, or NULL). It is the job's own row that
 * is not looked at, since settling is not the task's. */
enum err_code task_try(const struct task_try_env *env, const struct task *task, const char *args,
                       const char *kwargs, struct task_proof *ret_proof, struct err *e) MUST_CHECK;
void task_proof_release(struct task_proof *proof);

#endif
