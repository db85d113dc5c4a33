/* SPDX-License-Identifier: MIT
 *
 * Counting the items of a batch; see batch.h.
 */
#include "worker/batch.h"

#include "worker/task.h"

bool batch_is_many(const struct item *item) { return item->task && item->task->run_many; }

static size_t count_alike(const struct item *first, size_t max)
{
    const struct item *item = first;
    size_t count = 0;

    for (; item && item->task == first->task && count < max; item = item->next)
        count++;
    return count;
}

size_t batch_size(const struct pace *pace, const struct item *first, size_t max)
{
    int64_t left_us = BATCH_GOAL_US;
    size_t count = 0;

    if (batch_is_many(first))
        return count_alike(first, (size_t)first->task->batch_max);
    for (const struct item *item = first; item && count < max; item = item->next) {
        if (batch_is_many(item))
            break;
        left_us -= pace_of(pace, item->task);
        if (left_us < 0)
            break;
        count++;
    }
    return count > 0 ? count : 1;
}
