/* SPDX-License-Identifier: MIT
 *
 * What people do to jobs and queues by hand: revoke, try again, run now, delete, purge, pause. All
 * of it is in PostgreSQL and outlives every restart. Each function is one statement; those that
 * make jobs ready give a list, which the caller pushes after the commit (job_list_push()).
 *
 * A job that runs may be revoked: its attempt loses its fence, so nothing of it is committed, and
 * its handler is told (task_is_revoked()). What it did outside the database is not undone, and a
 * call that is under way comes to its end.
 */
#ifndef COMMON_JOBS_CONTROL_H
#define COMMON_JOBS_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/job_list.h"

/* PENDING, RETRY, STARTED -> REVOKED. ret_revoked[i] tells which were in one of these. */
enum err_code jobs_revoke(struct db *db, const struct uuid *ids, size_t count, bool *ret_revoked,
                          struct err *e) MUST_CHECK;

/* The same, and a handler that does not end when it is told is ended with its process, which gives
 * its other jobs back; also for jobs that were revoked while they ran. */
enum err_code jobs_terminate(struct db *db, const struct uuid *ids, size_t count, bool *ret_revoked,
                             struct err *e) MUST_CHECK;

/* Which of `ids` (an array parameter) are REVOKED: rows of (id, whether it is to be terminated). */
enum err_code jobs_list_revoked(struct db *db, const char *ids, struct db_result **ret_rows,
                                struct err *e) MUST_CHECK;

/* What waits for its time (PENDING, RETRY) is ready now, whatever time that is; those that wait for
 * others of their flow or for a limit are left, and what is ready is already. */
enum err_code jobs_run_now(struct db *db, const struct uuid *ids, size_t count,
                           struct job_list *ret_jobs, struct err *e) MUST_CHECK;

/* Frees unique keys whose time to live is over. */
enum err_code jobs_release_keys(struct db *db, struct err *e) MUST_CHECK;

/* FAILURE, and REVOKED unless `dead_only`, -> PENDING, with as many attempts as its task declares
 * from now on; its errors are kept, an expiry that is over is lifted. Jobs in another state, that
 * could never be decoded, whose unique key another job holds or took while they ran, or whose flow
 * has lost what comes before them, are left as they are and are not in the list
 * (jobs_why_not_requeued() tells). One whose turn in its flow has not come goes on waiting
 * (flows_waits_for()). In a transaction the caller
 * calls jobs_release_keys() before it, and begins anew at ERR_CONFLICT: another job has taken such
 * a key meanwhile. */
enum err_code jobs_requeue(struct db *db, const struct uuid *ids, size_t count, bool dead_only,
                           struct job_list *ret_jobs, struct err *e) MUST_CHECK;

/* Why this dead or revoked job cannot run again, for people; to be freed with mem_free(). NULL when
 * it can, is in another state, or is not there. */
enum err_code jobs_why_not_requeued(struct db *db, const struct uuid *id, char **ret_why,
                                    struct err *e) MUST_CHECK;

/* Deletes jobs in FAILURE with their errors. ret_deleted[i] tells which were. Those of a flow that
 * is not over are left: what comes behind them asks for them. */
enum err_code jobs_delete_dead(struct db *db, const struct uuid *ids, size_t count,
                               bool *ret_deleted, struct err *e) MUST_CHECK;

/* Dead jobs (FAILURE). Texts are borrowed; NULL lets every job through. */
struct dead_filter {
    const char *task;
    const char *queue;
    const char *error; /* how the last error begins */
    int64_t until_us;  /* died until then (PostgreSQL's wall time), so that a loop over batches
                          ends even when jobs die again meanwhile */
};

/* The same for the `max` that have been dead longest; none: that was all. Of several with one
 * unique key only one is run again. */
enum err_code jobs_requeue_matching(struct db *db, const struct dead_filter *filter, int max,
                                    struct job_list *ret_jobs, struct err *e) MUST_CHECK;
enum err_code jobs_delete_matching(struct db *db, const struct dead_filter *filter, int max,
                                   int64_t *ret_count, struct err *e) MUST_CHECK;

/* How many of them cannot run again because another job holds their unique key, or took it while
 * they ran, or their flow has lost what came before them. */
enum err_code jobs_count_held(struct db *db, const struct dead_filter *filter, int64_t *ret_count,
                              struct err *e) MUST_CHECK;

/* How many of them cannot be deleted because their flow is not over. */
enum err_code jobs_count_in_flows(struct db *db, const struct dead_filter *filter,
                                  int64_t *ret_count, struct err *e) MUST_CHECK;

/* Revokes at most `max` jobs of a queue that have been waiting since `until_us` or longer: those
 * that are ready or parked under a limit, or (`scheduled`) those that wait for their time, retries
 * among them. */
enum err_code jobs_purge(struct db *db, const char *queue, bool scheduled, int64_t until_us,
                         int max, int64_t *ret_count, struct err *e) MUST_CHECK;

/* A paused queue gives nothing to workers; what they hold already is run to its end. ret_changed:
 * whether it was not paused (or paused) before. `by` is told to people. */
enum err_code queues_pause(struct db *db, const char *queue, const char *by, bool *ret_changed,
                           struct err *e) MUST_CHECK;
enum err_code queues_resume(struct db *db, const char *queue, bool *ret_changed,
                            struct err *e) MUST_CHECK;

/* One name a row in column 0, sorted. */
enum err_code queues_list_paused(struct db *db, struct db_result **ret_rows,
                                 struct err *e) MUST_CHECK;

/* Subscribes the session to changes of what is paused. */
enum err_code queues_listen(struct db *db, struct err *e) MUST_CHECK;

#endif
