/* SPDX-License-Identifier: MIT
 *
 * What the scheduler does to the rows of jobs because time has passed. Each function marks the rows
 * in one statement and gives their ids, which the caller pushes into the streams after that; a
 * crash between the two leaves rows that are found again. Several may run at once.
 */
#ifndef COMMON_JOBS_HEAL_H
#define COMMON_JOBS_HEAL_H

#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/job_list.h"

/* Revokes jobs that wait and whose time is over: at most `max` of those that wait for others of
 * their flow, and `max` of the rest. What a worker meets first it revokes itself, at the claim. */
enum err_code jobs_expire(struct db *db, int max, int64_t *ret_count, struct err *e) MUST_CHECK;

/* Delays and retries whose time has come, at most `max`. */
enum err_code jobs_take_due(struct db *db, int max, struct job_list *ret_jobs,
                            struct err *e) MUST_CHECK;

/* Microseconds until the next one is due: 0 when one is, negative when none waits. ret_later_us:
 * until the first that is not due yet. Jobs that are parked under a limit are not due by time. */
enum err_code jobs_next_due(struct db *db, int64_t *ret_wait_us, int64_t *ret_later_us,
                            struct err *e) MUST_CHECK;

/* The queues and priorities that have waiting rows (`id` is unused). */
enum err_code jobs_list_waiting_streams(struct db *db, struct job_list *ret_streams,
                                        struct err *e) MUST_CHECK;

/* Rows of one stream that were meant to stand in it before `before_us` (PostgreSQL's wall time),
 * at most `max`; they count as meant now. */
enum err_code jobs_take_lost(struct db *db, const char *queue, enum job_priority priority,
                             int64_t before_us, int max, struct job_list *ret_jobs,
                             struct err *e) MUST_CHECK;

/* How many rows are meant to stand in a stream and wait there; stops at `max`. */
enum err_code jobs_count_meant(struct db *db, const char *queue, enum job_priority priority,
                               int64_t max, int64_t *ret_count, struct err *e) MUST_CHECK;

/* Names of workers that have jobs STARTED longer than `age_us` ago. Owned array of owned texts;
 * name_list_release() frees it. */
struct name_list {
    char **items;
    size_t count;
};

/* For a statement that takes back the attempt of row `j`: the error that it has already
 * (jobs_note_overrun()), or NULL. The scheduler may not read any. */
#define JOB_CUT_OFF_ERROR                                                                          \
    "(SELECT c.error FROM job_errors c"                                                            \
    " WHERE c.job_id = j.id AND c.attempt = j.attempt LIMIT 1)"

void name_list_release(struct name_list *list);

enum err_code jobs_list_busy_workers(struct db *db, int64_t age_us, struct name_list *ret_names,
                                     struct err *e) MUST_CHECK;

/* Takes back what a worker had STARTED longer than `age_us` ago and does not hold any more (`held`:
 * an array parameter of the ids that it does hold, "{}" for a dead one): PENDING again, its error
 * kept; FAILURE when its attempts are used up (those are not in the list). */
enum err_code jobs_take_orphans(struct db *db, const char *worker, const char *held, int64_t age_us,
                                int max, struct job_list *ret_jobs, struct err *e) MUST_CHECK;

/* Takes back, likewise, what a former process of this worker's name had by places that were passed
 * on to it: those have no stream entry to come back by. For a name that nobody has any more; and
 * for a process that has none yet. */
enum err_code jobs_take_passed(struct db *db, const char *worker, struct job_list *ret_jobs,
                               struct err *e) MUST_CHECK;
enum err_code jobs_take_own_passed(struct db *db, const char *worker, struct job_list *ret_jobs,
                                   struct err *e) MUST_CHECK;

/* Keeps that this attempt, which runs still as far as is known, has ended its process by running
 * for longer than `limit_us`. Whoever takes the job over keeps this error for its own. */
enum err_code jobs_note_overrun(struct db *db, const struct uuid *id, int attempt, int64_t limit_us,
                                struct err *e) MUST_CHECK;

/* PostgreSQL's wall time. */
enum err_code jobs_server_time(struct db *db, int64_t *ret_wall_us, struct err *e) MUST_CHECK;

#endif
