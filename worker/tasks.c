/* SPDX-License-Identifier: MIT
 *
 * The list of all tasks; see tasks.h.
 */
#include "worker/tasks.h"

#include <string.h>

#include "common/auto.h"
#include "common/text.h"

#define TASKS(X)                                                                                   \
    X(process_payment)                                                                             \
    X(refund_payment)                                                                              \
    X(prune)                                                                                       \
    X(send_confirmation)                                                                           \
    X(end_sessions)                                                                                \
    X(expire_unpaid)                                                                               \
    X(reconcile_payments)                                                                          \
    X(reconcile_payment)                                                                           \
    X(daily_sales)                                                                                 \
    X(send_daily_sales)                                                                            \
    X(noop)                                                                                        \
    X(sleep)                                                                                       \
    X(stubborn)                                                                                    \
    X(fail)                                                                                        \
    X(talk)                                                                                        \
    X(snooze)                                                                                      \
    X(crash)                                                                                       \
    X(echo)                                                                                        \
    X(flow)                                                                                        \
    X(tally)                                                                                       \
    X(tally_many)                                                                                  \
    X(tally_steps)

#define X(name) extern const struct task task_##name;
TASKS(X)
#ifdef TILL_CRASHPOINTS /* tests/faults/task_poison.c, in build/faults/ alone */
X(poison)
X(poison_many)
#endif
#undef X

const struct task *const tasks[] = {
#define X(name) &task_##name,
    TASKS(X)
#ifdef TILL_CRASHPOINTS
        X(poison) X(poison_many)
#endif
#undef X
};

const size_t tasks_count = COUNT_OF(tasks);

const struct task *task_find(const char *name)
{
    for (size_t i = 0; i < tasks_count; i++)
        if (strcmp(tasks[i]->name, name) == 0)
            return tasks[i];
    return NULL;
}

/* What an author has left out, or NULL. */
static const char *problem_of(const struct task *task)
{
    _Static_assert(TASK_BATCH_MAX == 128, "it is told below");

    if (!task->queue || !text_is_name(task->queue))
        return "has no queue, or one whose name is none";
    if (task->max_attempts < 1)
        return "has no max_attempts: at least 1";
    if (task->soft_limit_s < 1 || task->hard_limit_s < task->soft_limit_s)
        return "needs a soft_limit_s of at least 1, and a hard_limit_s that is not below it";
    if (task->retention_s < 0)
        return "has a negative retention_s";
    if (!task->run == !task->run_many)
        return "needs one of run and run_many";
    if (task->run_many && (task->batch_max < 1 || task->batch_max > TASK_BATCH_MAX))
        return "needs a batch_max from 1 to 128 for its run_many";
    return NULL;
}

static bool is_twice(const struct task *const *list, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(list[i]->name, list[at]->name) == 0)
            return true;
    return false;
}

enum err_code tasks_check(const struct task *const *list, size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = list[i]->name;
        const char *problem;

        if (!name || !text_is_name(name))
            return err_set(e, ERR_INVALID,
                           "task %zu of worker/tasks.c has no name, or one that is none", i + 1);
        problem = is_twice(list, i) ? "is there twice" : problem_of(list[i]);
        if (problem)
            return err_set(e, ERR_INVALID, "task \"%s\" %s", name, problem);
    }
    return ERR_OK;
}
