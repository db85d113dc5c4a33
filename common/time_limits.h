/* SPDX-License-Identifier: MIT
 *
 * How long a task may run: what its author declared (worker/task.h), and what people have set
 * instead, which holds for every run that begins from then on, in all workers, until it is taken
 * back. Times are in milliseconds; 0 is "not said".
 */
#ifndef COMMON_TIME_LIMITS_H
#define COMMON_TIME_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/job.h"

#define TIME_LIMIT_MS_MAX INT64_C(31536000000) /* a year */

struct time_limit {
    char task[JOB_NAME_MAX + 1];
    int64_t soft_ms; /* as set; 0: the task's own */
    int64_t hard_ms;
    int64_t own_soft_ms; /* as declared; 0: no worker has told */
    int64_t own_hard_ms;
};

struct time_limit_list {
    struct time_limit *items; /* owned */
    size_t count;
};

void time_limit_list_release(struct time_limit_list *list);

/* What a run gets. A limit that was set alone moves the other only as far as it must: soft is never
 * beyond hard. Pure. */
int64_t time_limit_soft_ms(const struct time_limit *limit);
int64_t time_limit_hard_ms(const struct time_limit *limit);

/* All tasks that have any, sorted; `set_only`: those for which people have set something. */
enum err_code time_limits_list(struct db *db, bool set_only, struct time_limit_list *ret_list,
                               struct err *e) MUST_CHECK;

/* Both 0: the task's own again. ERR_INVALID: no name of a task, out of bounds, soft beyond hard. */
enum err_code time_limits_set(struct db *db, const char *task, int64_t soft_ms, int64_t hard_ms,
                              const char *by, struct err *e) MUST_CHECK;

/* What a worker's build has; the task is declared already. */
enum err_code time_limits_declare(struct db *db, const char *task, int64_t soft_ms, int64_t hard_ms,
                                  struct err *e) MUST_CHECK;

#endif
