/* SPDX-License-Identifier: MIT
 *
 * What tasks declare as secret (sql/0022_secrets.sql), and jobs by their visible side. A task that
 * Till runs declares in its own file; for the others, and with '*' for all, people do:
 * `till task secrets`.
 */
#ifndef COMMON_TASK_SECRETS_H
#define COMMON_TASK_SECRETS_H

#include "common/db.h"
#include "common/err.h"
#include "common/job_shown.h"
#include "common/uuid.h"

/* All secret names of a task as a JSON array, to be freed with mem_free(); NULL: none. */
enum err_code task_secrets_find(struct db *db, const char *task, char **ret_names,
                                struct err *e) MUST_CHECK;

/* What people have declared: rows of task and JSON array of names. */
enum err_code task_secrets_list(struct db *db, struct db_result **ret_rows,
                                struct err *e) MUST_CHECK;

/* Declares these names (an array as db_array_add() makes it) instead of those before; NULL: none.
 */
enum err_code task_secrets_set(struct db *db, const char *task, const char *names,
                               struct err *e) MUST_CHECK;

/* The visible side of args and kwargs that no job has yet: a schedule's. */
enum err_code task_shown_make(struct db *db, const char *task, const char *args, const char *kwargs,
                              struct job_shown *ret_shown, struct err *e) MUST_CHECK;

/* The visible side of a job, for texts that came from elsewhere; nothing when it is gone. */
enum err_code job_shown_find(struct db *db, const struct uuid *id, struct job_shown *ret_shown,
                             struct err *e) MUST_CHECK;

#endif
