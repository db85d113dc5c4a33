/* SPDX-License-Identifier: MIT
 *
 * What an author may have left out of a task: named at the start, not met by its first job.
 */
#include "worker/tasks.h"

#include <string.h>

#include <criterion/criterion.h>

static enum task_outcome run(struct task_run *unused, struct err *e)
{
    (void)unused;
    (void)e;
    return TASK_DONE;
}

static enum task_outcome run_many(struct task_batch *unused, struct err *e)
{
    (void)unused;
    (void)e;
    return TASK_DONE;
}

static const struct task good = {.name = "x.tasks.y",
                                 .queue = "default",
                                 .max_attempts = 1,
                                 .soft_limit_s = 1,
                                 .hard_limit_s = 1,
                                 .run = run};

static void expect_refused(const struct task *task, const char *told)
{
    struct err e = {0};

    cr_expect_eq(tasks_check(&task, 1, &e), ERR_INVALID, "%s", told);
    cr_expect_not_null(strstr(e.text, told), "\"%s\" does not tell \"%s\"", e.text, told);
}

Test(tasks, those_of_this_tree_can_run)
{
    struct err e = {0};

    cr_expect_eq(tasks_check(tasks, tasks_count, &e), ERR_OK, "%s", e.text);
}

Test(tasks, what_is_left_out_is_named)
{
    static const struct {
        const char *told;
        int queue, attempts, soft_s, hard_s, retention_s, run, run_many, batch_max;
    } cases[] = {
        {"no queue", 0, 1, 1, 1, 0, 1, 0, 0},
        {"no max_attempts", 1, 0, 1, 1, 0, 1, 0, 0},
        {"soft_limit_s", 1, 1, 0, 1, 0, 1, 0, 0},
        {"hard_limit_s", 1, 1, 2, 1, 0, 1, 0, 0},
        {"negative", 1, 1, 1, 1, -1, 1, 0, 0},
        {"one of run", 1, 1, 1, 1, 0, 0, 0, 0},
        {"one of run", 1, 1, 1, 1, 0, 1, 1, 8},
        {"batch_max", 1, 1, 1, 1, 0, 0, 1, 0},
        {"batch_max", 1, 1, 1, 1, 0, 0, 1, TASK_BATCH_MAX + 1},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct task bad = good;

        bad.queue = cases[i].queue ? "default" : NULL;
        bad.max_attempts = cases[i].attempts;
        bad.soft_limit_s = cases[i].soft_s;
        bad.hard_limit_s = cases[i].hard_s;
        bad.retention_s = cases[i].retention_s;
        bad.run = cases[i].run ? run : NULL;
        bad.run_many = cases[i].run_many ? run_many : NULL;
        bad.batch_max = cases[i].batch_max;
        expect_refused(&bad, cases[i].told);
    }
}

Test(tasks, a_name_is_one_and_there_once)
{
    const struct task *const twice[] = {&good, &good};
    struct task bad = good;
    struct err e = {0};

    cr_expect_eq(tasks_check(twice, 1, &e), ERR_OK);
    cr_expect_eq(tasks_check(twice, 2, &e), ERR_INVALID);
    cr_expect_str_eq(e.text, "task \"x.tasks.y\" is there twice");
    bad.name = NULL;
    expect_refused(&bad, "no name");
    bad.name = "x y";
    expect_refused(&bad, "no name");
}
