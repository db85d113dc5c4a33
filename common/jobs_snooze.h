/* SPDX-License-Identifier: MIT
 *
 * A job that puts itself off: not now, and no error. It waits for its time as if it had not run.
 * The number of its attempt goes on, since that is the fence, but it has one attempt more; how
 * often it did so stands in `snoozes`. `reason` may be NULL; it is shown where errors are while the
 * job waits, as "put off: ...", and is none of its errors.
 */
#ifndef COMMON_JOBS_SNOOZE_H
#define COMMON_JOBS_SNOOZE_H

#include "common/jobs_run.h"

/* STARTED -> PENDING, due after `delay_us`. ERR_CONFLICT: another has taken over. ret_superseded as
 * of jobs_fail(). */
enum err_code jobs_snooze(struct db *db, const struct attempt *attempt, int64_t delay_us,
                          const char *reason, bool *ret_superseded, struct err *e) MUST_CHECK;

/* A fast job becomes a row for it. Doing it again is harmless. */
enum err_code jobs_snooze_fast(struct db *db, const struct queue_delivery *delivery,
                               const struct queue_stream *stream, const char *worker,
                               int max_attempts, int64_t delay_us, const char *reason,
                               struct err *e) MUST_CHECK;

#endif
