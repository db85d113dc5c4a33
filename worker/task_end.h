/* SPDX-License-Identifier: MIT
 *
 * What is made of the way in which a task returned: by a slot, by a batch, and by the trial of a
 * task (tests/harness/task_try.h), which tells its author the same.
 */
#ifndef WORKER_TASK_END_H
#define WORKER_TASK_END_H

#include "worker/task.h"

/* The outcome, or TASK_FAIL where it is none, or where the task has left a transaction of its own
 * open (that would take its end with it, and those of the jobs that come after it, until somebody
 * rolls it back), or has ended the one that it was given, `tx`, or let a statement fail in it,
 * before its end could be written in it. Does not return in a process that the task has forked. */
enum task_outcome task_end_judge(const struct db *db, const struct db_tx *tx,
                                 enum task_outcome outcome, struct err *e);

/* Once a process, before the first task runs: from then on a copy of the process ends where a task
 * returns in it, since it would go on with the connections of the worker. */
void task_end_watch_forks(void);

#endif
