/* SPDX-License-Identifier: MIT
 *
 * try_task TASK [ARGS [KWARGS]]: tries a task of this build by task_try() with the settings of the
 * environment, and prints the proof as one JSON object. For the tests that have sandboxes, and for
 * whoever writes a task. The exit code is 1 when the trial itself was not possible.
 */
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/program.h"
#include "tests/harness/task_try.h"
#include "worker/gateway.h"
#include "worker/mailer.h"
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

/* Bad ones, for the test of the trial itself. */
static const struct task bad_tasks[] = {
    {.name = "try.tasks.outside", .queue = "default", .max_attempts = 1, .run = run_outside},
    {.name = "try.tasks.looks", .queue = "default", .max_attempts = 1, .run = run_looks},
};

static const struct task *find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(bad_tasks); i++)
        if (strcmp(name, bad_tasks[i].name) == 0)
            return &bad_tasks[i];
    return task_find(name);
}

static json_t *end_json(const struct task_end *end)
{
    return json_pack("{s:s, s:s, s:s?, s:i}", "outcome", outcomes[end->outcome], "error",
                     end->error.text, "result", end->result, "follow_ups", end->follow_ups);
}

static void print(const struct task_proof *proof)
{
    AUTO(json_decref)
    json_t *out = json_pack("{s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:i, s:b, s:b}", "first",
                            end_json(&proof->first), "second", end_json(&proof->second),
                            "after_crash", end_json(&proof->after_crash), "touched", proof->touched,
                            "changed", proof->changed, "after_cut", proof->after_cut, "outside",
                            proof->outside, "connections", proof->connections, "is_idempotent",
                            proof->is_idempotent, "survives_a_crash", proof->survives_a_crash);
    AUTO(mem_free) char *text = out ? json_write(out) : NULL;

    (void)puts(text ? text : "{}");
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
        (void)fprintf(stderr, "try_task: there is no task %s\n", name);
        return EXIT_USAGE;
    }
    gateway_global_init();
    env.gateway = gateway_open(&gateway);
    env.mailer = mailer_open(&mail);
    rc = task_try(&env, task, args, kwargs, &proof, &e);
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
