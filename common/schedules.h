/* SPDX-License-Identifier: MIT
 *
 * The tables of schedules and their runs, as the leading scheduler works on them. What people do
 * stands in schedules_view.h. Times are whole seconds since 1970, by PostgreSQL's clock, so that
 * all schedulers have the same one.
 *
 * A tick is decided in one transaction: leader_verify(), schedules_lock(), then a
 * schedules_record() and a schedules_enqueue() for each run, then schedules_advance().
 */
#ifndef COMMON_SCHEDULES_H
#define COMMON_SCHEDULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/jobs.h"
#include "common/schedule.h"
#include "common/schedule_file.h"

/* Makes the table say what the file says: in the caller's transaction. Schedules that the file does
 * not have go, their runs stay; those that changed go on from now. */
enum err_code schedules_sync(struct db *db, const struct schedule_file *file, int64_t *ret_changed,
                             int64_t *ret_removed, struct err *e) MUST_CHECK;

enum { SCHEDULES_DUE_MAX = 100 };

struct schedule_due {
    char name[SCHEDULE_NAME_MAX + 1];
    int64_t wait_us; /* until it has to be looked at; 0: now */
    bool may_go;     /* a run waited for the one before it, which is over */
    bool some_wait;  /* of any schedule */
};

/* The schedules that come first behind `passed` of them, at most SCHEDULES_DUE_MAX; paused ones do
 * not. */
enum err_code schedules_list_due(struct db *db, size_t passed,
                                 struct schedule_due due[SCHEDULES_DUE_MAX], size_t *ret_count,
                                 struct err *e) MUST_CHECK;

/* A row while its transaction lasts. */
struct schedule_row {
    struct schedule schedule;
    int64_t now; /* PostgreSQL's */
    int64_t decided_to;
    bool has_waiting;
    int64_t waiting_tick;
    int64_t open_runs; /* whose jobs are not finished */
};

void schedule_row_release(struct schedule_row *row);

/* Locks the row and counts its open runs. ERR_NOT_FOUND: it is gone, paused, or somebody else
 * has it. */
enum err_code schedules_lock(struct db *db, const char *name, struct schedule_row *ret_row,
                             struct err *e) MUST_CHECK;

struct schedule_run {
    int64_t tick;
    const char *outcome; /* fired, skipped, missed, waiting */
    const char *reason;  /* or NULL */
    int64_t ticks;
    const struct uuid *job; /* of a fired one */
};

/* Writes what became of a tick. False: it has its row already, and nothing may come of it again. */
enum err_code schedules_record(struct db *db, const char *name, const struct schedule_run *run,
                               bool *ret_is_new, struct err *e) MUST_CHECK;

/* Inserts the job of a run, with the headers "schedule" and "tick" (RFC 3339 in its zone). */
enum err_code schedules_enqueue(struct db *db, const struct schedule *schedule, const char *tick,
                                const struct uuid *job, struct job_ready *ret_ready,
                                struct err *e) MUST_CHECK;

/* The run that waited begins. */
enum err_code schedules_fire_waiting(struct db *db, const char *name, int64_t tick,
                                     const struct uuid *job, struct err *e) MUST_CHECK;

struct schedule_advance {
    int64_t decided_to;
    bool has_next;
    int64_t next_tick;
    int64_t next_run;
    bool has_waiting;
    int64_t waiting_tick;
};

/* Writes what is next; *ret_wait_us tells how long until then. */
enum err_code schedules_advance(struct db *db, const char *name,
                                const struct schedule_advance *advance, int64_t *ret_wait_us,
                                struct err *e) MUST_CHECK;

/* Sets a schedule aside that cannot run, with the reason for people, until schedules_refresh(). */
enum err_code schedules_set_problem(struct db *db, const char *name, const char *problem,
                                    struct err *e) MUST_CHECK;

/* Everything is worked out anew from its last tick: zones may have changed. Gives the number of
 * schedules. */
enum err_code schedules_refresh(struct db *db, int64_t *ret_count, struct err *e) MUST_CHECK;

/* Deletes all but the newest runs of each schedule. */
enum err_code schedules_trim(struct db *db, int64_t *ret_deleted, struct err *e) MUST_CHECK;

#endif
