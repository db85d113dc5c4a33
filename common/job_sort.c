/* SPDX-License-Identifier: MIT
 *
 * The orders of Flower's sort_by; see job_sort.h.
 */
#include "common/job_sort.h"

#include <stdlib.h>
#include <string.h>

static int64_t order_value(const struct job_view *job)
{
    return job->started_us ? job->started_us : INT64_MAX;
}

/* The orders of Flower's sort_by; without a start: last, either way. */
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
    else if (!a->started_us || !b->started_us || order == JOBS_BY_STARTED)
        result = (order_value(a) > order_value(b)) - (order_value(a) < order_value(b));
    else
        result = (a->started_us < b->started_us) - (a->started_us > b->started_us);
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
