/* SPDX-License-Identifier: MIT
 *
 * Schedules as people see them and what they order: listing them, their history, pausing, running
 * one now. Times are microseconds since 1970 by PostgreSQL's clock, 0 where there is none.
 */
#ifndef COMMON_SCHEDULES_VIEW_H
#define COMMON_SCHEDULES_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/jobs.h"
#include "common/schedule.h"

/* Owned; schedule_views_release() frees the list. */
struct schedule_view {
    struct schedule schedule;
    char *source;
    char *problem;   /* or NULL */
    char *paused_by; /* or NULL */
    int64_t paused_us;
    int64_t removed_us; /* no file has it any more; it is shown for its pause, which is kept */
    int64_t next_tick_us;
    int64_t next_run_us; /* the same and the jitter: when it really comes */
    int64_t waiting_tick_us;
    int64_t last_tick_us; /* of the last run that fired */
    int64_t last_run_us;  /* when it did */
    char *last_job;       /* its id, or NULL */
    char *last_state;     /* of that job; NULL without one, or when it is gone */
};

struct schedule_views {
    struct schedule_view *items;
    size_t count;
};

void schedule_views_release(struct schedule_views *views);

/* All of them by name, or the one of this name; among them those that were taken out of the file
 * while they were paused. */
enum err_code schedules_list(struct db *db, const char *name, struct schedule_views *ret_views,
                             struct err *e) MUST_CHECK;

struct schedule_event {
    int64_t tick_us;
    int64_t decided_us;
    char *outcome;
    char *reason; /* or NULL */
    int64_t ticks;
    bool by_hand;
    char *job;   /* id, or NULL */
    char *state; /* of the job, or NULL */
    int64_t finished_us;
};

struct schedule_events {
    struct schedule_event *items;
    size_t count;
};

void schedule_events_release(struct schedule_events *events);

/* The last `limit` ticks of a schedule, also of one that is gone, newest first; of those before
 * `before_us`, unless that is 0. */
enum err_code schedules_history(struct db *db, const char *name, int64_t before_us, int limit,
                                struct schedule_events *ret_events, struct err *e) MUST_CHECK;

/* These act in the caller's transaction, or in one of their own.
 *
 * A paused schedule does not run, also when it comes back into the file; ticks of that time are
 * not made up for. ret_changed: whether it
 * was not paused (or paused) before. ERR_NOT_FOUND. */
enum err_code schedules_pause(struct db *db, const char *name, const char *by, bool *ret_changed,
                              struct err *e) MUST_CHECK;
enum err_code schedules_resume(struct db *db, const char *name, bool *ret_changed,
                               struct err *e) MUST_CHECK;

/* Runs it now, whatever else runs, paused or not; it stands in the history as run by hand. The
 * caller pushes *ret_ready. ERR_NOT_FOUND. */
enum err_code schedules_run_now(struct db *db, const char *name, const char *by,
                                struct job_ready *ret_ready, struct err *e) MUST_CHECK;

#endif
