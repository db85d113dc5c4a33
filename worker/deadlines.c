/* SPDX-License-Identifier: MIT
 *
 * Time limits by the index of their task; see deadlines.h.
 */
#include "worker/deadlines.h"

#include <stdatomic.h>
#include <string.h>

#include "common/clock.h"
#include "common/job_options.h"
#include "common/mem.h"
#include "worker/task.h"
#include "worker/tasks.h"

struct limits {
    atomic_int_fast64_t soft_us;
    atomic_int_fast64_t hard_us;
};

struct deadlines {
    struct limits *items; /* owned: one for each of tasks[] */
};

static void put(struct deadlines *deadlines, size_t i, const struct time_limit *set)
{
    const struct time_limit limit = {
        .soft_ms = set ? set->soft_ms : 0,
        .hard_ms = set ? set->hard_ms : 0,
        .own_soft_ms = tasks[i]->soft_limit_s * INT64_C(1000),
        .own_hard_ms = tasks[i]->hard_limit_s * INT64_C(1000),
    };

    atomic_store(&deadlines->items[i].soft_us, time_limit_soft_ms(&limit) * US_PER_MS);
    atomic_store(&deadlines->items[i].hard_us, time_limit_hard_ms(&limit) * US_PER_MS);
}

struct deadlines *deadlines_new(void)
{
    struct deadlines *deadlines = mem_alloc(sizeof *deadlines);

    deadlines->items = mem_array(tasks_count, sizeof deadlines->items[0]);
    deadlines_put(deadlines, &(struct time_limit_list){0});
    return deadlines;
}

void deadlines_put(struct deadlines *deadlines, const struct time_limit_list *list)
{
    for (size_t i = 0; i < tasks_count; i++) {
        const struct time_limit *set = NULL;

        for (size_t n = 0; n < list->count && !set; n++)
            if (strcmp(list->items[n].task, tasks[i]->name) == 0)
                set = &list->items[n];
        put(deadlines, i, set);
    }
}

static struct deadline of_task(const struct deadlines *deadlines, const struct task *task)
{
    for (size_t i = 0; i < tasks_count; i++)
        if (tasks[i] == task)
            return (struct deadline){.soft_us = atomic_load(&deadlines->items[i].soft_us),
                                     .hard_us = atomic_load(&deadlines->items[i].hard_us)};
    return (struct deadline){.soft_us = task->soft_limit_s * US_PER_S,
                             .hard_us = task->hard_limit_s * US_PER_S};
}

struct deadline deadlines_of(const struct deadlines *deadlines, const struct task *task,
                             const json_t *headers)
{
    struct deadline deadline = of_task(deadlines, task);
    struct job_time_limits own;
    struct time_limit limit;

    /* Headers were judged when they were accepted. */
    if (!headers || job_time_limits_read(headers, &own, NULL) || (!own.soft_ms && !own.hard_ms))
        return deadline;
    limit = (struct time_limit){.soft_ms = own.soft_ms,
                                .hard_ms = own.hard_ms,
                                .own_soft_ms = deadline.soft_us / US_PER_MS,
                                .own_hard_ms = deadline.hard_us / US_PER_MS};
    return (struct deadline){.soft_us = time_limit_soft_ms(&limit) * US_PER_MS,
                             .hard_us = time_limit_hard_ms(&limit) * US_PER_MS};
}
