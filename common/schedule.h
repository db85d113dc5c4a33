/* SPDX-License-Identifier: MIT
 *
 * What a schedule is, and the decision which of its ticks run now: pure, no clock, no server. A
 * tick is the planned time, in whole seconds since 1970; with jitter its run comes later, by an
 * amount that is fixed for the schedule.
 */
#ifndef COMMON_SCHEDULE_H
#define COMMON_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cron.h"
#include "common/err.h"
#include "common/zone.h"

enum {
    SCHEDULE_NAME_MAX = 100,
    SCHEDULE_CATCH_UP_MAX_S = 31 * 86400,
    SCHEDULE_CATCH_UP_DEFAULT_S = 86400,
    SCHEDULE_RUNS_MAX = 100, /* of ticks that are made up for */
    SCHEDULE_JITTER_MAX_S = 86400,
    SCHEDULE_GRACE_S = 10,     /* a tick that is this late is not late */
    SCHEDULE_MISSED_MAX = 100, /* missed ticks that have a row of their own */
    SCHEDULE_COUNT_MAX = 10000,
};

/* What happens to a tick while the run before it is not finished. */
#define SCHEDULE_OVERLAPS(X)                                                                       \
    X(SKIP, "skip")   /* it is skipped */                                                          \
    X(QUEUE, "queue") /* one waits until the run is over; more are skipped */                      \
    X(ALLOW, "allow") /* they run side by side */

enum schedule_overlap {
#define X(name, text) SCHEDULE_##name,
    SCHEDULE_OVERLAPS(X)
#undef X
};

const char *schedule_overlap_name(enum schedule_overlap overlap);
bool schedule_overlap_parse(const char *name, enum schedule_overlap *ret_overlap);

/* All texts are owned; schedule_release() frees them. */
struct schedule {
    char *name;
    char *cron;
    char *zone;
    char *task;
    char *args;   /* JSON array */
    char *kwargs; /* JSON object */
    char *queue;  /* or NULL: as the task declares */
    enum schedule_overlap overlap;
    int64_t catch_up_s;    /* ticks older than this are not made up for */
    int64_t catch_up_runs; /* after a downtime this many run, the last ones */
    int64_t jitter_s;
};

void schedule_release(struct schedule *schedule);

/* How long after its tick a run comes: 0 to `jitter_s`, always the same for one name. */
int64_t schedule_delay_s(const struct schedule *schedule);

struct schedule_missed {
    int64_t tick;
    int64_t ticks;   /* how many it stands for, from this one on; SCHEDULE_COUNT_MAX: or more */
    bool is_too_old; /* older than the window; else there were too many at once */
};

/* About 3 kB. */
struct schedule_plan {
    struct schedule_missed missed[SCHEDULE_MISSED_MAX + 1]; /* ascending */
    size_t missed_count;
    int64_t fire[SCHEDULE_RUNS_MAX]; /* ascending */
    size_t fire_count;
    int64_t decided_to;
    bool has_next; /* false: it never comes again */
    int64_t next;
};

/* Ticks after `decided_to` whose run is due at `now`. Normally that is one, and it fires. After a
 * downtime there are more: the last of them fire, the others are missed. A clock that was put back
 * behind `decided_to` starts from `now`; ticks that come again then have their rows already. */
void schedule_decide(const struct schedule *schedule, const struct cron *cron,
                     const struct zone *zone, int64_t decided_to, int64_t now,
                     struct schedule_plan *ret_plan);

#endif
