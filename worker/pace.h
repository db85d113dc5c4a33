/* SPDX-License-Identifier: MIT
 *
 * How long jobs take, by task and over all, as moving averages. Pure; the pool decides by it how
 * much to hold and how many jobs a slot gets at once. Longer ones count at once, shorter ones
 * slowly: holding too much is the worse mistake.
 */
#ifndef WORKER_PACE_H
#define WORKER_PACE_H

#include <stdint.h>

struct task;

enum { PACE_UNKNOWN_US = 50 * 1000, PACE_TASKS_MAX = 64 };

struct pace {
    int64_t all_us;
    struct {
        const struct task *task;
        int64_t us;
    } tasks[PACE_TASKS_MAX];
    int count;
};

void pace_init(struct pace *pace);

/* `count` jobs of a task (NULL: of no known one) took so long together. */
void pace_note(struct pace *pace, const struct task *task, int64_t runtime_us, int count);

/* What to expect of the next job of a task. */
int64_t pace_of(const struct pace *pace, const struct task *task);

/* How many jobs to read now, at most `room`; 0: none yet. `ahead` is how many keep the slots busy
 * for as long as one may wait here. What is read together is claimed, run and settled together, and
 * ten jobs cost nearly as much as a hundred. So while there is enough to do nothing is read to fill
 * up a small remainder, nor before half of what was read ahead has begun: else each job that ends
 * would be followed by a claim of one. */
int pace_room(int room, int held, int slots, int64_t ahead);

#endif
