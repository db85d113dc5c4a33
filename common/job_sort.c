/* SPDX-License-Identifier: MIT
 *
 * The orders of Flower's sort_by; see job_sort.h.
 */
#include "common/job_sort.h"

#include <stdlib.h>
#include <string.h>

static bool by_runtime(enum jobs_order order)
{
    return order == JOBS_BY_RUNTIME || order == JOBS_BY_RUNTIME_DOWN;
}

/* What an order by a time or a length goes by; -1: it has none. */
static int64_t order_value(const struct job_view *job, enum jobs_order order)
{
    if (!job->started_us)
        return -1;
    if (!by_runtime(order))
        return job->started_us;
    return job->finished_us >= job->started_us ? job->finished_us - job->started_us : -1;
}

/* Without a value: last, either way. */
static int compare_values(int64_t a, int64_t b, bool up)
{
    if (a < 0 || b < 0 || !up)
        return (a < b) - (a > b);
    return (a > b) - (a < b);
}

/* The orders of Flower's sort_by, and of its table. */
static int compare(const struct job_view *a, const struct job_view *b, enum jobs_order order)
{
    int result = 0;

    if (order == JOBS_BY_NAME)
        result = strcmp(a->task, b->task);
    else if (order == JOBS_BY_NAME_DOWN)
        result = strcmp(b->task, a->task);
    else if (order == JOBS_BY_STATE)
        result = strcmp(job_state_name(a->state), job_state_name(b->state));
    else if (order == JOBS_BY_STATE_DOWN)
        result = strcmp(job_state_name(b->state), job_state_name(a->state));
    else
        result = compare_values(order_value(a, order), order_value(b, order),
                                order == JOBS_BY_STARTED || order == JOBS_BY_RUNTIME);
    return result ? result : strcmp(b->id.text, a->id.text);
}

static int compare_by(const void *a, const void *b, void *order)
{
    return compare(a, b, *(const enum jobs_order *)order);
}

void jobs_sort(struct job_view *items, size_t count, enum jobs_order order)
{
    if (count > 0)
        qsort_r(items, count, sizeof items[0], compare_by, &order);
}
