/* SPDX-License-Identifier: MIT
 *
 * The success of many jobs at once, each behind the fence of its attempt (jobs_run.h), and whom
 * their places under limits go to.
 */
#ifndef COMMON_JOBS_SUCCEED_H
#define COMMON_JOBS_SUCCEED_H

#include <stdbool.h>
#include <stddef.h>

#include "common/db.h"
#include "common/err.h"
#include "common/job.h"
#include "common/jobs_run.h"

/* STARTED -> SUCCESS for many, in one statement; `results` may hold NULLs. ret_ours[i] tells which
 * were still ours; the others are not touched. `have_places`: some of them have (struct job). */
enum err_code jobs_succeed_many(struct db *db, const struct attempt *attempts,
                                const char *const *results, size_t count, bool have_places,
                                bool *ret_ours, struct err *e) MUST_CHECK;

/* The same within the caller's transaction, sent with its commit, which fails with ERR_CONFLICT
 * unless all are ours: jobs_find_ours() tells then which still are. */
enum err_code jobs_succeed_many_later(struct db *db, const struct attempt *attempts,
                                      const char *const *results, size_t count, bool have_places,
                                      struct err *e) MUST_CHECK;
enum err_code jobs_find_ours(struct db *db, const struct attempt *attempts, size_t count,
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

#endif
