/* SPDX-License-Identifier: MIT
 *
 * The list of all tasks; see tasks.h.
 */
#include "worker/tasks.h"

#include <string.h>

#include "common/auto.h"

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
    X(tally_many)

#define X(name) extern const struct task task_##name;
TASKS(X)
#ifdef TILL_CRASHPOINTS /* tests/faults/task_poison.c, in build/faults/ alone */
X(poison)
#endif
#undef X

const struct task *const tasks[] = {
#define X(name) &task_##name,
    TASKS(X)
#ifdef TILL_CRASHPOINTS
        X(poison)
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
