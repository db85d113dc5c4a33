/* SPDX-License-Identifier: MIT
 *
 * Reading the index of jobs: which jobs of which segments may fit a search. Private to job_find.c,
 * which looks at each of them; what is said here is "perhaps".
 *
 *   AUTO_VALUE(segments_release) struct segments segments = {.up = false};
 *   segments_plan(&segments, filter);
 *   rc = segments_open(&segments, db, &from, &to, e);
 *   while (!rc && !is_over) rc = segments_next(&segments, db, &cursor, &ids, &is_over, e);
 */
#ifndef COMMON_JOB_SEGMENTS_H
#define COMMON_JOB_SEGMENTS_H

#include "common/found_ids.h"
#include "common/job_grams.h"
#include "common/job_needs.h"
#include "common/jobs_view.h"

enum { SEGMENTS_MAX = 4096 }; /* that one search looks at */

struct segment {
    int64_t id;
    size_t jobs;
    struct uuid first;
    struct uuid last;
    struct job_places *places; /* owned; NULL: not asked yet */
    bool is_read;
};

struct segments {
    bool up;       /* oldest first */
    size_t wanted; /* jobs that are still looked for: more are picked at once */
    struct job_needs needs;
    struct segment *items; /* owned, in order */
    size_t count;
    size_t round; /* segments that are read by the end of the next one */
    size_t given; /* candidates so far */
};

void segments_release(struct segments *segments);

/* What the filter needs of every job. */
void segments_plan(struct segments *segments, const struct jobs_filter *filter);
/* Those with ids between. */
enum err_code segments_open(struct segments *segments, struct db *db, const struct uuid *from,
                            const struct uuid *to, struct err *e) MUST_CHECK;

/* Jobs that may fit and come after the cursor, and moves the cursor to behind them: all that stand
 * in between are in the list, in order. */
enum err_code segments_next(struct segments *segments, struct db *db, struct uuid *cursor,
                            struct found_ids *ret_ids, bool *ret_is_over, struct err *e) MUST_CHECK;

#endif
