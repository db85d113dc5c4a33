/* SPDX-License-Identifier: MIT
 *
 * The table of limits, and what it does to jobs. Limits of queues are only kept here: workers apply
 * them where they read (queue_limit.h). Those of tasks and keys are applied at the claim: a job
 * that may not run yet is parked, and let go when there is a place or a token for it, by priority
 * and age. The work is done by functions of the database (sql/0025, 0030 to 0034), behind locks of
 * what is counted, so that no two claims give the same place away; the claim itself is in
 * jobs_claim.h.
 */
#ifndef COMMON_LIMITS_H
#define COMMON_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/job_list.h"
#include "common/limit.h"
#include "common/queue.h"

enum { LIMITS_MAX = 1000 };

struct limit_list {
    struct limit *items; /* owned */
    size_t count;
};

void limit_list_release(struct limit_list *list);

/* All of them, sorted by scope and name. */
enum err_code limits_list(struct db *db, struct limit_list *ret_list, struct err *e) MUST_CHECK;

/* How many jobs have places that the limits of tasks and keys count, and how many are parked for
 * them; both stop at LIMIT_COUNT_MAX. In the order of limits_list(); of queues both are 0. */
enum { LIMIT_COUNT_MAX = 20000 };

struct limit_count {
    int64_t running;
    int64_t parked;
};

enum err_code limits_count(struct db *db, const struct limit *limit, struct limit_count *ret_count,
                           struct err *e) MUST_CHECK;

/* Counts anew which places of a task's or key's limit jobs have. */
struct limit_recount {
    int64_t buckets;  /* one of a task or key, many of "tenant:*" */
    int64_t too_many; /* places that were counted, and no job had */
    int64_t too_few;
};

enum err_code limits_recount(struct db *db, const struct limit *limit,
                             struct limit_recount *ret_recount, struct err *e) MUST_CHECK;

/* Makes or changes a limit. ERR_INVALID as limit_check(); ERR_CONFLICT when there are LIMITS_MAX.
 */
enum err_code limits_set(struct db *db, const struct limit *limit, const char *by,
                         struct err *e) MUST_CHECK;
enum err_code limits_delete(struct db *db, enum limit_scope scope, const char *name,
                            bool *ret_deleted, struct err *e) MUST_CHECK;

/* ---- workers ---- */

/* Fast jobs among the deliveries (those that name a task) become rows that wait; doing it again is
 * harmless. One that came under the id of another job gets an id of its own, in its delivery, too.
 * `max_attempts` has one element for each delivery. */
enum err_code limits_make_rows(struct db *db, struct queue_delivery *deliveries,
                               const int *max_attempts, size_t count,
                               const struct queue_stream *streams, struct err *e) MUST_CHECK;

/* ---- scheduler ---- */

/* Lets parked jobs go for which there is room now, at most `max`. ret_wait_us: when to look again;
 * 0: at once, there are more; negative: when told. */
enum err_code limits_release(struct db *db, int max, struct job_list *ret_jobs,
                             int64_t *ret_wait_us, struct err *e) MUST_CHECK;

/* Gives places to jobs that run without one, and takes what was given back off the counts. */
enum err_code limits_find_uncounted(struct db *db, struct err *e) MUST_CHECK;

/* Has every line of parked jobs looked at by the next limits_release(). */
enum err_code limits_look_at_lines(struct db *db, struct err *e) MUST_CHECK;

#endif
