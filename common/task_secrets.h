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

/* A worker's report hides what the task itself declares. Here its last error is hidden, whatever it
 * says, when people have declared anything for its task; `declared` is from task_secrets_list(),
 * NULL when that is not known. */
void task_secrets_hide_last_error(const struct db_result *declared, json_t *report);

/* Declares these names (an array as db_array_add() makes it) instead of those before; NULL: none.
 */
enum err_code task_secrets_set(struct db *db, const char *task, const char *names,
                               struct err *e) MUST_CHECK;

/* Whether values of the job are not here, being too long: what is secret in them may stand in its
 * other texts. */
bool job_has_unread(const struct job_view *job);
/* All that is secret in its values, by its `secrets`. */
enum err_code job_secrets_read(struct db *db, const struct job_view *job,
                               struct secrets *ret_secrets, struct err *e) MUST_CHECK;

/* The visible side of args and kwargs that no job has yet: a schedule's. */
enum err_code task_shown_make(struct db *db, const char *task, const char *args, const char *kwargs,
                              struct job_shown *ret_shown, struct err *e) MUST_CHECK;

/* The visible side of a job, for texts that came from elsewhere; nothing when it is gone. */
enum err_code job_shown_find(struct db *db, const struct uuid *id, struct job_shown *ret_shown,
                             struct err *e) MUST_CHECK;

#endif
