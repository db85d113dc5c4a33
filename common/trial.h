/* SPDX-License-Identifier: MIT
 *
 * Counters for trying and measuring: a job of till.tasks.tally or till.tasks.tally_many adds to one
 * of them and writes one entry. Each job's effect is one UPDATE and one INSERT, the same that the
 * bench sends without a worker, and the sums tell how often it happened.
 */
#ifndef COMMON_TRIAL_H
#define COMMON_TRIAL_H

#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/uuid.h"

/* `amount` is added to counter number `counter` for job `job`. */
struct trial_tally {
    struct uuid job;
    int64_t counter;
    int64_t amount;
};

/* In the caller's transaction. ERR_NOT_FOUND: no such counter; ERR_INVALID: the counter would fall
 * below 0. */
enum err_code trial_add(struct db *db, const struct trial_tally *tally, struct err *e) MUST_CHECK;

/* The same for many in two statements. `ret_missing`,
 * with one element for each tally, tells whose counter does not exist. When there is one, nothing
 * is complete: roll back, and call again without it. */
enum err_code trial_add_many(struct db *db, const struct trial_tally *tallies, size_t count,
                             bool *ret_missing, struct err *e) MUST_CHECK;

/* How long jobs took, by PostgreSQL's clock; 0 where nothing is known yet. */
struct trial_times {
    int64_t open;        /* jobs that have not ended */
    int64_t all_us;      /* from the first INSERT to the last end */
    int64_t start_us[3]; /* from the INSERT of each to its last start: p50, p95, p99 */
    int64_t end_us[3];   /* to its end */
};

enum err_code trial_time(struct db *db, const struct uuid *ids, size_t count,
                         struct trial_times *ret_times, struct err *e) MUST_CHECK;

#endif
