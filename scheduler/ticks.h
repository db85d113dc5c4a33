/* SPDX-License-Identifier: MIT
 *
 * The schedules: brings the table in line with the file, and makes a job of each tick that is due.
 */
#ifndef SCHEDULER_TICKS_H
#define SCHEDULER_TICKS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/schedule_file.h"
#include "scheduler/scheduler.h"

struct ticks {
    struct schedule_file file; /* without path: there is none, and the table stays as it is */
    bool is_synced;            /* the table is as the file says, for as long as we lead */
    int64_t looked_at_us;      /* monotonic, like all of these */
    int64_t look_at_us;        /* when to look next; 0: now */
    int64_t upkeep_at_us;
    size_t passed; /* of the schedules that are due: what others have locked, since a look at all */
};

/* Reads TILL_SCHEDULES_FILE, if there is one. What was read before stays when that fails. */
enum err_code ticks_load(struct ticks *ticks, const struct conf *conf, struct err *e) MUST_CHECK;

void ticks_release(struct ticks *ticks);

/* A new leader begins with the file. */
void ticks_begin(struct ticks *ticks);

/* Something may have changed: look soon. */
void ticks_wake(struct ticks *ticks);

/* One round, when it is time for one. Only a leader calls it. */
enum err_code ticks_run(struct scheduler *scheduler, struct ticks *ticks, struct err *e) MUST_CHECK;

#endif
