/* SPDX-License-Identifier: MIT
 *
 * The table of all tasks: a task is added by its file and one line in tasks.c.
 */
#ifndef WORKER_TASKS_H
#define WORKER_TASKS_H

#include <stddef.h>

#include "worker/task.h"

extern const struct task *const tasks[];
extern const size_t tasks_count;

/* Whether each of them can run: what is missing or goes against itself in a `struct task` is named.
 * The worker does not start otherwise. Pure. */
enum err_code tasks_check(const struct task *const *list, size_t count, struct err *e) MUST_CHECK;

/* NULL when this build does not know it. */
const struct task *task_find(const char *name);

#endif
