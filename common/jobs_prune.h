/* SPDX-License-Identifier: MIT
 *
 * Deleting finished jobs that have been kept long enough, with their errors: a job for its own
 * retention, else its task's, else that of the settings; a dead one (FAILURE) for that of dead
 * jobs, or its own when that is longer; one of a flow until the flow is over, too,
 * and where that has failed and the job says nothing itself, as long as the dead.
 *
 *   struct pruning pruning = {0};
 *   while (!pruning.is_done)
 *       rc = jobs_prune(db, &retention, PRUNE_BATCH, &pruning, e);
 *
 * Each call is one statement that looks at a bounded part of one index, and its own transaction.
 * Rows that somebody has locked are left for the next time. Several at once do no harm.
 */
#ifndef COMMON_JOBS_PRUNE_H
#define COMMON_JOBS_PRUNE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/job.h"

struct retention {
    int64_t finished_s; /* SUCCESS and REVOKED, where neither job nor task says */
    int64_t dead_s;     /* FAILURE */
};

/* One pass over the table: where it stands. All zeros: at its beginning. */
struct pruning {
    int step;
    char task[JOB_NAME_MAX + 1]; /* the one whose jobs are looked at */
    struct uuid after;           /* the last of them that was */
    int64_t count;               /* jobs deleted so far */
    bool is_done;
};

enum { PRUNE_BATCH = 1000 };

/* Deletes up to `max` jobs and moves on. After an error the pass may go on where it was. */
enum err_code jobs_prune(struct db *db, const struct retention *retention, int max,
                         struct pruning *pruning, struct err *e) MUST_CHECK;

#endif
