/* SPDX-License-Identifier: MIT
 *
 * How many slots a process wants, between two bounds: pure, told by numbers alone. It grows when
 * all slots are busy and something has waited for longer than AUTOSCALE_WAIT_US, by half each time;
 * it shrinks to what it used at most during the last `keep_us`, with some to spare, when that is
 * clearly less than what it has. Between the two lies where it stays, so a steady load finds its
 * size and keeps it.
 */
#ifndef WORKER_AUTOSCALE_H
#define WORKER_AUTOSCALE_H

#include <stdint.h>

#define AUTOSCALE_WAIT_US INT64_C(1000000)
#define AUTOSCALE_STEP_US INT64_C(1000000) /* between two steps up */

/* What is remembered between looks. Zero is a good beginning. */
struct autoscale {
    int64_t changed_us; /* monotonic: of the last change */
    int64_t window_us;  /* when the running half of the window began */
    int peak;           /* most slots used in it */
    int former_peak;    /* and in the half before */
};

struct autoscale_view {
    int64_t now_us; /* monotonic */
    int min;
    int max;
    int64_t keep_us;
    int slots;             /* now */
    int busy;              /* slots that run a job */
    int64_t oldest_age_us; /* of what waits in the streams; only looked at when all are busy */
};

/* The size to have from now on; slots within the bounds that fit are left alone. */
int autoscale_decide(struct autoscale *autoscale, const struct autoscale_view *view);

#endif
