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

/* NULL when this build does not know it. */
const struct task *task_find(const char *name);

#endif
