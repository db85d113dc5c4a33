/* SPDX-License-Identifier: MIT
 *
 * Making the index that finds jobs by words (sql/0021_search.sql): off the way of those who make,
 * claim and settle jobs, some thousands at a time, by whoever holds its lock.
 *
 *   struct job_index index = {.db = db};
 *   rc = job_index_step(&index, &has_more, e);      again at once while has_more
 *
 * Jobs are read in the order of their ids, up to those that a transaction may still be inserting.
 * What is not finished by then is put down as open and read once more when it is. So is what is
 * found later among the ids of a segment and not in it: its id comes from a clock that is late, or
 * it took longer to be inserted than anybody waits. Values of more than JOB_FIND_BYTES are not
 * indexed.
 */
#ifndef COMMON_JOB_INDEX_H
#define COMMON_JOB_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/uuid.h"

enum {
    JOB_INDEX_SLACK_S = 30,  /* that a clock which makes ids may be late */
    JOB_INDEX_WAIT_S = 600,  /* for a transaction that may be inserting */
    JOB_INDEX_MIN = 1024,    /* jobs that are worth a segment; fewer are looked at one by one */
    JOB_INDEX_SMALL = 8192,  /* segments of less are replaced by one, ... */
    JOB_INDEX_MERGED = 8,    /* ... when there are so many */
    JOB_INDEX_OPEN_S = 5,    /* how often open jobs are asked whether they are finished */
    JOB_INDEX_LOOK_S = 3600, /* how often a segment is compared with the jobs that are there: ... */
    JOB_INDEX_YOUNG_S = 60,  /* ... a new one sooner, then less and less often */
};

struct job_index {
    struct db *db;
    int64_t barrier_ms;   /* wall; who was inserting then is waited for; 0: nobody is */
    char barrier_xid[24]; /* no transaction that had begun by then has this number or a later one */
    struct uuid open_after; /* where the walk over the open ones stands */
    int64_t open_at_us;     /* monotonic: the next step of it */
    int64_t count;          /* jobs read so far */
};

/* True: this session makes the index; false: another does. */
enum err_code job_index_lead(struct job_index *index, bool *ret_leads, struct err *e) MUST_CHECK;

/* The most urgent thing there is to do; `has_more`: there may be another. */
enum err_code job_index_step(struct job_index *index, bool *ret_has_more, struct err *e) MUST_CHECK;

#endif
