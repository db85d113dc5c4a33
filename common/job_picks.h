/* SPDX-License-Identifier: MIT
 *
 * From places in segments of the index to ids of jobs: the next ones after a cursor. Private to
 * job_segments.c.
 *
 *   AUTO_VALUE(picks_release) struct picks picks = {0};
 *   rc = picks_begin(&picks, segments, db, end, cursor, e);
 *   picks_take(&picks, segments, i);          for some i < end
 *   rc = picks_fetch(&picks, segments, db, &ids, &stop, e);
 */
#ifndef COMMON_JOB_PICKS_H
#define COMMON_JOB_PICKS_H

#include "common/job_segments.h"

struct pick {
    size_t segment; /* number in the list of segments */
    size_t place;
};

/* What a round has chosen, before the ids are known. */
struct picks {
    struct pick *items; /* owned */
    size_t count;
    size_t *bounds; /* owned; of each segment: jobs with smaller ids than those meant */
    bool *is_cut;   /* owned; of each segment: it has more */
};

void picks_release(struct picks *picks);

/* To pick from the first `end` segments, which have been read, what comes after the cursor. */
enum err_code picks_begin(struct picks *picks, const struct segments *segments, struct db *db,
                          size_t end, const struct uuid *cursor, struct err *e) MUST_CHECK;

/* The next places of a segment. */
void picks_take(struct picks *picks, const struct segments *segments, size_t number);

/* The ids of what was picked, in order. Where a segment has more, `stop` moves to the last of its
 * ids, if that comes first. */
enum err_code picks_fetch(const struct picks *picks, const struct segments *segments, struct db *db,
                          struct found_ids *ret_ids, struct uuid *stop, struct err *e) MUST_CHECK;

#endif
