/* SPDX-License-Identifier: MIT
 *
 * try_task TASK [ARGS [KWARGS]]: tries a task of this build by task_try() with the settings of the
 * environment, and prints the proof as one JSON object. For the tests that have sandboxes, and for
 * whoever writes a task. The exit code is 1 when the trial itself was not possible.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/program.h"
#include "tests/harness/task_try.h"
#include "worker/gateway.h"
#include "worker/mailer.h"
#include "worker/task_end.h"
#include "worker/tasks.h"

static const char *const outcomes[] = {
    [TASK_DONE] = "done", [TASK_RETRY] = "retry", [TASK_FAIL] = "fail", [TASK_SNOOZE] = "snooze"};

/* What no author should write: its effect stands in no transaction that a crash would take back. */
static enum task_outcome run_outside(struct task_run *run, struct err *e)
{
    AUTO(db_close) struct db *own = db_open(run->conf->database_url, "own");

    return db_run_script(own, "UPDATE trial_counters SET total = total + 1 WHERE id = 7", e)
               ? task_outcome_of(e)
               : TASK_DONE;
}

/* It only reads there. */
static enum task_outcome run_looks(struct task_run *run, struct err *e)
{
    AUTO(db_close) struct db *own = db_open(run->conf->database_url, "own");

    return db_run_script(own, "SELECT FROM trial_counters", e) ? task_outcome_of(e) : TASK_DONE;
}

static const struct db_stmt COUNT = {"try_count",
                                     "UPDATE trial_counters SET total = total + 1 WHERE id = 7", 0};
static const struct db_stmt ECHO = {"try_echo", "SELECT $1::text", 1};
static const struct db_stmt MISTAKE = {"try_mistake", "SELECT 1 / 0", 0};

/* By the connection that it was given, but before task_begin(): no row more, and no crash takes it
 * back. */
static enum task_outcome run_before(struct task_run *run, struct err *e)
{
    return db_exec(run->db, &COUNT, DB_NO_ARGS, NULL, e) || task_begin(run, e) ? task_outcome_of(e)
                                                                               : TASK_DONE;
}

/* The mistakes that a worker tells of when the task returns, each by its name. */
static enum task_outcome run_mistake(struct task_run *run, struct err *e)
{
    const char *kind = task_arg_text(run, 0);
    struct db_tx own = {0};

    if (strcmp(kind, "alone") == 0) /* and heeds it: nothing is spoiled by that */
        return db_exec(run->db, &MISTAKE, DB_NO_ARGS, NULL, e) ? task_outcome_of(e) : TASK_DONE;
    if (strcmp(kind, "begin") == 0)
        return db_begin(run->db, &own, e) || db_exec(run->db, &COUNT, DB_NO_ARGS, NULL, e)
                   ? task_outcome_of(e)
                   : TASK_DONE;
    if (task_begin(run, e) || db_exec(run->db, &COUNT, DB_NO_ARGS, NULL, e))
        return task_outcome_of(e);
    if (strcmp(kind, "few") == 0 && db_exec(run->db, &ECHO, DB_NO_ARGS, NULL, e))
        return task_outcome_of(e);
    if (strcmp(kind, "nameless") == 0 && task_enqueue(run, &(struct job_new){.args = "[]"}, e))
        return task_outcome_of(e);
    if (strcmp(kind, "broken") == 0)
        (void)!db_exec(run->db, &MISTAKE, DB_NO_ARGS, NULL, NULL);
    if (strcmp(kind, "large") == 0) {
        run->result = mem_alloc(TASK_RESULT_MAX + 2);
        memset(run->result, '1', TASK_RESULT_MAX + 1);
    }
    if (strcmp(kind, "json") == 0)
        run->result = mem_dup("{oops");
    if (strcmp(kind, "commit") == 0 || strcmp(kind, "rollback") == 0 ||
        strcmp(kind, "begin again") == 0)
        (void)!db_run_script(run->db,
                             kind[0] == 'c'   ? "COMMIT"
                             : kind[0] == 'r' ? "ROLLBACK"
                                              : "COMMIT; BEGIN",
                             NULL);
    if (strcmp(kind, "close") == 0)
        db_disconnect(run->db);
    if (strcmp(kind, "exit") == 0)
        exit(0); /* NOLINT: the point of it */
    if (strcmp(kind, "fork") == 0)
        (void)!fork();
    if (strcmp(kind, "bytes") == 0)
        (void)err_set(e, ERR_INTERNAL, "what \xff is no text");
    return strcmp(kind, "bytes") == 0    ? TASK_FAIL
           : strcmp(kind, "number") == 0 ? (enum task_outcome)99
           : strcmp(kind, "silent") == 0 ? TASK_RETRY
                                         : TASK_DONE;
}

/* Bad ones, for the test of the trial itself. */
static const struct task bad_tasks[] = {
    {.name = "try.tasks.outside", .queue = "default", .max_attempts = 1, .run = run_outside},
    {.name = "try.tasks.looks", .queue = "default", .max_attempts = 1, .run = run_looks},
    {.name = "try.tasks.before", .queue = "default", .max_attempts = 1, .run = run_before},
    {.name = "try.tasks.mistake", .queue = "default", .max_attempts = 1, .run = run_mistake},
};

static const struct task *find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(bad_tasks); i++)
        if (strcmp(name, bad_tasks[i].name) == 0)
            return &bad_tasks[i];
    return task_find(name);
}

/* A text of the task's, with marks in place of what is no UTF-8. */
static json_t *plain(const char *text)
{
    AUTO_VALUE(buf_release) struct buf out = {0};

    if (!text)
        return json_null();
    buf_init(&out, 2 * TASK_RESULT_MAX);
    buf_add_text(&out, text);
    return json_string(out.data);
}

static json_t *end_json(const struct task_end *end)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:i}", "outcome", outcomes[end->outcome], "error",
                     plain(end->error.text), "detail", plain(end->error.detail), "result",
                     plain(end->result), "follow_ups", end->follow_ups);
}

static void print(const struct task_proof *proof)
{
    AUTO(json_decref)
    json_t *out = json_pack("{s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:b, s:b}", "first",
                            end_json(&proof->first), "second", end_json(&proof->second),
                            "after_crash", end_json(&proof->after_crash), "touched", proof->touched,
                            "changed", proof->changed, "left", proof->left, "left_again",
                            proof->left_again, "after_cut", proof->after_cut, "outside",
                            proof->outside, "connections", proof->connections, "is_idempotent",
                            proof->is_idempotent, "survives_a_crash", proof->survives_a_crash);
    AUTO(mem_free) char *text = out ? json_write(out) : NULL;

    (void)puts(text ? text : "{}");
}

static bool is_tried;

/* A task that ends the process ends the trial, too, and should not look as if all were well. */
static void tell_exit(void)
{
    if (is_tried)
        return;
    (void)fputs("try_task: the task ended the process (exit()); a worker's would be replaced, and"
                " the attempt lost\n",
                stderr);
    _exit(EXIT_FAILED);
}

static int try_it(const struct conf *conf, const char *name, const char *args, const char *kwargs)
{
    const struct task *task = find(name);
    AUTO(db_close) struct db *db = db_open(conf->database_url, "try_task");
    struct task_try_env env = {.conf = conf, .db = db};
    const struct gateway_place gateway = gateway_place_of(conf);
    const struct mail_place mail = mail_place_of(conf);
    struct task_proof proof;
    struct err e = {0};
    enum err_code rc;

    if (!task) {
        (void)fprintf(stderr, "try_task: there is no task %s: does it stand in worker/tasks.c?\n",
                      name);
        return EXIT_USAGE;
    }
    gateway_global_init();
    env.gateway = gateway_open(&gateway);
    env.mailer = mailer_open(&mail);
    task_end_watch_forks();
    (void)atexit(tell_exit);
    rc = task_try(&env, task, args, kwargs, &proof, &e);
    is_tried = true;
    if (rc) {
        (void)fprintf(stderr, "try_task: %s %s\n", e.text, e.detail);
    } else {
        print(&proof);
        task_proof_release(&proof);
    }
    mailer_close(env.mailer);
    gateway_close(env.gateway);
    return rc ? EXIT_FAILED : EXIT_DONE;
}

int main(int argc, char **argv)
{
    struct conf conf;
    struct conf_request request;
    char *none[] = {argv[0], NULL};
    int code;

    if (argc < 2 || argc > 4) {
        (void)fprintf(stderr,
                      "try_task TASK ['[ARGS]' ['{KWARGS}']]: settings from the environment\n");
        return EXIT_USAGE;
    }
    code = program_start("till-worker", PROGRAM_WORKER, "", 1, none, &conf, &request);
    if (code < 0)
        code = try_it(&conf, argv[1], argc > 2 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL);
    conf_release(&conf);
    return code;
}
