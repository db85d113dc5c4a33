/* SPDX-License-Identifier: MIT
 *
 * What the dashboard's desk asks of jobs beside looking (jobs_view.h) and ordering
 * (jobs_control.h): whether a task is known, how far a job is, what kinds of dead jobs there are.
 * Where a job that was run again comes from is asked of job_replays.h.
 */
#ifndef COMMON_JOBS_DESK_H
#define COMMON_JOBS_DESK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/job.h"

struct known_task {
    bool is_known; /* some worker has declared it */
    int max_attempts;
};

enum err_code tasks_find(struct db *db, const char *name, struct known_task *ret_task,
                         struct err *e) MUST_CHECK;

/* Names of the tasks that workers have declared, sorted. */
enum err_code tasks_list_known(struct db *db, struct db_result **ret_rows,
                               struct err *e) MUST_CHECK;

/* ERR_NOT_FOUND when there is no such job. */
enum err_code jobs_state_of(struct db *db, const struct uuid *id, enum job_state *ret_state,
                            struct err *e) MUST_CHECK;

/* Queue and number of jobs that wait for their next attempt, for the newest 20,000 of them. */
enum err_code jobs_list_retrying(struct db *db, struct db_result **ret_rows,
                                 struct err *e) MUST_CHECK;

/* PENDING, RETRY -> REVOKED; what runs is left alone. ret_revoked[i] tells which were waiting. */
enum err_code jobs_revoke_waiting(struct db *db, const struct uuid *ids, size_t count,
                                  bool *ret_revoked, struct err *e) MUST_CHECK;

/* ---- dead jobs by reason: dead_groups.h counts them ---- */

/* Dead jobs of one task and reason, those that died first before others. */
struct dead_walk {
    const char *task;
    const char *reason;
    struct uuid except;   /* empty: none */
    int64_t until_us;     /* not those that have died since */
    int64_t after_us;     /* of the last one seen: when it died, and its id */
    struct uuid after_id; /* UUID_FIRST at the beginning */
};

/* At most `max` of them: id, and when it died in us. */
enum err_code jobs_dead_of(struct db *db, const struct dead_walk *walk, int max,
                           struct db_result **ret_rows, struct err *e) MUST_CHECK;
/* The reason of a dead job of this task, to be freed with mem_free(); ERR_NOT_FOUND when it is dead
 * no more. */
enum err_code jobs_dead_reason(struct db *db, const struct uuid *id, const char *task,
                               char **ret_reason, struct err *e) MUST_CHECK;

#endif
