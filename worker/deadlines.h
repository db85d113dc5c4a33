/* SPDX-License-Identifier: MIT
 *
 * How long each task may run, as this process knows it: what the task declares, and what people
 * have set instead (common/time_limits.h). The control thread writes, slots read; each limit is an
 * atomic of its own, so nobody waits. A run keeps the limits that it began with.
 */
#ifndef WORKER_DEADLINES_H
#define WORKER_DEADLINES_H

#include <stdint.h>

#include <jansson.h>

#include "common/time_limits.h"

struct task;
struct deadlines;

/* Lives as long as its process. */
struct deadlines *deadlines_new(void);

/* `list` has what is set; every other task is back to what it declares. */
void deadlines_put(struct deadlines *deadlines, const struct time_limit_list *list);

struct deadline {
    int64_t soft_us;
    int64_t hard_us;
};

/* `headers` of the job may have limits of its own (common/job_options.h), which come first; NULL:
 * none. */
struct deadline deadlines_of(const struct deadlines *deadlines, const struct task *task,
                             const json_t *headers);

#endif
