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

/* STARTED -> SUCCESS within the caller's transaction. ERR_CONFLICT: another has taken over; roll
 * back. `result` is JSON or NULL. */
enum err_code jobs_succeed(struct db *db, const struct attempt *attempt, const char *result,
                           struct err *e) MUST_CHECK;

/* The same, sent with the commit of the caller's transaction, which fails with ERR_CONFLICT. */
enum err_code jobs_succeed_later(struct db *db, const struct attempt *attempt, const char *result,
                                 struct err *e) MUST_CHECK;

/* The same for many, in one statement; `results` may hold NULLs. ret_ours[i] tells which were still
 * ours; the others are not touched. `have_places`: some of them have (struct job). */
enum err_code jobs_succeed_many(struct db *db, const struct attempt *attempts,
                                const char *const *results, size_t count, bool have_places,
                                bool *ret_ours, struct err *e) MUST_CHECK;

/* ---- places of limits that are passed on ---- */

/* By this the deliveries of jobs begin that came by a place and not by a stream entry. */
#define PASSED_PREFIX "passed:"
enum { PASSED_SIZE = sizeof PASSED_PREFIX + sizeof(struct uuid) };

/* To whom: `worker`, by `delivery`, which no other has (PASSED_PREFIX and a new id); jobs of
 * `queues` alone, an array parameter. */
struct passing {
    const char *worker;
    const char *delivery;
    const char *queues;
};

/* Jobs that are STARTED and the caller's, but have no stream entry. Owned. */
struct passed_jobs {
    struct job *jobs;
    size_t count;
};

void passed_jobs_release(struct passed_jobs *passed);

/* jobs_succeed_many() for jobs that have places. Where others are parked for these, the first of
 * them are claimed in the same statement: the caller is to run `ret_next`. When it fails with
 * ERR_UNAVAILABLE or ERR_TIMEOUT it may have been done all the same: jobs_find_passed() tells whom
 * the caller got then. */
enum err_code jobs_succeed_passing(struct db *db, const struct passing *passing,
                                   const struct attempt *attempts, const char *const *results,
                                   size_t count, bool *ret_ours, struct passed_jobs *ret_next,
                                   struct err *e) MUST_CHECK;
enum err_code jobs_find_passed(struct db *db, const struct passing *passing,
                               struct passed_jobs *ret_next, struct err *e) MUST_CHECK;

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
