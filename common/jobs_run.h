/* SPDX-License-Identifier: MIT
 *
 * What workers do to the rows of jobs that they have claimed (jobs_claim.h): finish, give back.
 * Every write is fenced by the attempt number, so a worker that has been taken over changes
 * nothing.
 */
#ifndef COMMON_JOBS_RUN_H
#define COMMON_JOBS_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/db.h"
#include "common/err.h"
#include "common/job.h"
#include "common/queue.h"

/* One attempt of one job: the fence. */
struct attempt {
    struct uuid id;
    int number;
};

/* Attempts as two array parameters, ids and numbers. Initialises both, which are the caller's. */
void attempts_to_arrays(const struct attempt *attempts, size_t count, struct buf *ids,
                        struct buf *numbers);

/* Which of `count` attempts a statement touched: its first column is their places in the arrays,
 * the first is 1; rows without one are about others. */
void attempts_mark(const struct db_result *rows, size_t count, bool *ret_marks);

/* STARTED -> SUCCESS within the caller's transaction. ERR_CONFLICT: another has taken over; roll
 * back. `result` is JSON or NULL. */
enum err_code jobs_succeed(struct db *db, const struct attempt *attempt, const char *result,
                           struct err *e) MUST_CHECK;

/* The same, sent with the commit of the caller's transaction, which fails with ERR_CONFLICT. */
enum err_code jobs_succeed_later(struct db *db, const struct attempt *attempt, const char *result,
                                 struct err *e) MUST_CHECK;

/* STARTED -> RETRY after `delay_us`, or -> FAILURE when `delay_us` is negative; the error is kept
 * with the attempt. ERR_CONFLICT as above. ret_superseded: it is REVOKED instead of RETRY, since a
 * newer job took its unique key while it ran (sql/0038). */
enum err_code jobs_fail(struct db *db, const struct attempt *attempt, int64_t delay_us,
                        const char *error, const char *detail, bool *ret_superseded,
                        struct err *e) MUST_CHECK;

/* STARTED -> PENDING for jobs that this worker gives back because it ends. That was not their
 * fault, so they have one attempt more. ret_released[i] tells which were still ours. */
enum err_code jobs_give_back(struct db *db, const struct attempt *attempts, size_t count,
                             bool *ret_released, struct err *e) MUST_CHECK;

/* A stream entry that is no job: a FAILURE row with the bytes kept. Doing it again is harmless. */
enum err_code jobs_bury_undecodable(struct db *db, const struct queue_delivery *delivery,
                                    const struct queue_stream *stream, const char *worker,
                                    struct err *e) MUST_CHECK;

/* The id of the row that a fast job becomes: its own, unless a producer gave it that of another
 * job. That one must not swallow it. */
enum err_code jobs_find_own_id(struct db *db, const struct queue_delivery *delivery,
                               const struct queue_stream *stream, struct uuid *ret_id,
                               struct err *e) MUST_CHECK;

/* A fast job that failed for the first time becomes a row: RETRY after `delay_us`, or FAILURE when
 * negative. Doing it again is harmless. */
enum err_code jobs_adopt_fast(struct db *db, const struct queue_delivery *delivery,
                              const struct queue_stream *stream, const char *worker,
                              int max_attempts, int64_t delay_us, const char *error,
                              const char *detail, struct err *e) MUST_CHECK;

#endif
