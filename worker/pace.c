/* SPDX-License-Identifier: MIT
 *
 * Moving averages of run times; see pace.h.
 */
#include "worker/pace.h"

#include <stdbool.h>
#include <stddef.h>

void pace_init(struct pace *pace) { *pace = (struct pace){.all_us = PACE_UNKNOWN_US}; }

static int find(const struct pace *pace, const struct task *task)
{
    for (int i = 0; i < pace->count; i++)
        if (pace->tasks[i].task == task)
            return i;
    return -1;
}

static void average(int64_t *average_us, int64_t runtime_us)
{
    if (runtime_us > *average_us)
        *average_us = (*average_us + runtime_us) / 2;
    else
        *average_us -= (*average_us - runtime_us) / 8;
}

void pace_note(struct pace *pace, const struct task *task, int64_t runtime_us, int count)
{
    int i = find(pace, task);

    if (count == 0)
        return;
    average(&pace->all_us, runtime_us / count);
    if (i >= 0) {
        average(&pace->tasks[i].us, runtime_us / count);
    } else if (pace->count < PACE_TASKS_MAX) {
        pace->tasks[pace->count].task = task;
        pace->tasks[pace->count++].us = runtime_us / count;
    }
}

int64_t pace_of(const struct pace *pace, const struct task *task)
{
    int i = find(pace, task);

    return i >= 0 ? pace->tasks[i].us : PACE_UNKNOWN_US;
}

enum { READ_UNIT = 128 };

int pace_room(int room, int held, int slots, int64_t ahead)
{
    bool is_enough = held - slots >= (ahead + 1) / 2;

    if (held < 2 * slots || (held < READ_UNIT && !is_enough))
        return room;
    return room - room % READ_UNIT;
}
