/* SPDX-License-Identifier: MIT
 *
 * Healing: finds jobs that should be in a stream and are not, and jobs whose worker is gone.
 */
#ifndef SCHEDULER_HEAL_H
#define SCHEDULER_HEAL_H

#include <stdint.h>

#include "common/err.h"
#include "common/queue.h"
#include "scheduler/scheduler.h"

/* Workers that hold jobs and have given no sign of life, and since when. */
struct missing {
    struct {
        char name[QUEUE_WORKER_NAME_SIZE];
        int64_t since_us; /* monotonic */
    } workers[256];
    int count;
};

/* One round. */
enum err_code heal(struct scheduler *scheduler, struct missing *missing, struct err *e) MUST_CHECK;

/* After how long the next is due: TILL_HEAL_SECONDS, sooner while somebody is missing, at once when
 * there was more to do than a round has time for. */
int64_t heal_pause_us(const struct scheduler *scheduler, const struct missing *missing);

#endif
