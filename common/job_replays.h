/* SPDX-License-Identifier: MIT
 *
 * Jobs that are run again as new ones, and which one each was made from.
 */
#ifndef COMMON_JOB_REPLAYS_H
#define COMMON_JOB_REPLAYS_H

#include <stddef.h>

#include "common/db.h"
#include "common/err.h"
#include "common/job_list.h"
#include "common/uuid.h"

/* `parent` is the job that `id` is a copy of; its root becomes that of `id`. */
enum err_code job_replays_add(struct db *db, const struct uuid *id, const struct uuid *parent,
                              const char *by, struct err *e) MUST_CHECK;

/* Why jobs of a batch were not run again. */
enum replay_skip {
    REPLAY_IS_GONE,       /* there is no such job any more */
    REPLAY_IS_UNFINISHED, /* it waits or runs: it is not over yet */
    REPLAY_IS_UNREADABLE, /* it could never be decoded, so there is nothing to run */
    REPLAY_IS_DONE,       /* this batch has run it again already, or made it */
    REPLAY_SKIP_COUNT,
};
const char *replay_skip_name(enum replay_skip why);

struct replayed {
    struct job_list ready; /* the new jobs: to be pushed after the commit, and released */
    size_t skipped[REPLAY_SKIP_COUNT];
};

void replayed_release(struct replayed *of);

/* Makes new jobs of these finished ones, as they are, each a copy without the unique key and the
 * flow of the old one, but with what that one got in its flow (task_input()). `batch` names the
 * order that they belong to: it makes at most one copy of each job and none of a copy of its own,
 * so an order may be given again. */
enum err_code job_replays_make(struct db *db, const struct uuid *ids, size_t count,
                               const struct uuid *batch, const char *by,
                               struct replayed *ret_replayed, struct err *e) MUST_CHECK;

/* One row: parent, root, by; none when it is no copy. */
enum err_code job_replays_find(struct db *db, const struct uuid *id, struct db_result **ret_rows,
                               struct err *e) MUST_CHECK;

/* Ids of its copies, the oldest first, at most 100. */
enum err_code job_replays_list(struct db *db, const struct uuid *id, struct db_result **ret_rows,
                               struct err *e) MUST_CHECK;

/* Of many, whose ids are an array as db_array_add() makes it: a row job, parent, root, null for
 * each that is a copy, and job, null, null, copy for each of at most 100 copies of one. */
enum err_code job_replays_kin(struct db *db, const char *ids, struct db_result **ret_rows,
                              struct err *e) MUST_CHECK;

#endif
