/* SPDX-License-Identifier: MIT
 *
 * A segment of the index of jobs in the making: jobs are read into it, then it is written. Private
 * to job_index.c.
 */
#ifndef COMMON_JOB_SEGMENT_NEW_H
#define COMMON_JOB_SEGMENT_NEW_H

#include "common/db.h"
#include "common/job_grams.h"
#include "common/uuid.h"

enum { SEGMENT_SECRETS_MAX = 64 }; /* tasks whose secret names are remembered while one is made */

struct segment_new {
    struct job_grams grams;
    struct uuid *ids; /* owned; JOB_SEGMENT_MAX of them, ascending */
    size_t count;
    struct uuid *open; /* owned; those of them that are not finished */
    size_t open_count;
    struct {
        char *task;
        char *names; /* NULL: none */
    } secrets[SEGMENT_SECRETS_MAX];
    size_t secrets_count;
};

void segment_new_init(struct segment_new *segment);
void segment_new_release(struct segment_new *segment);

/* Reads jobs behind `after` up to `until`, in order, until the segment is full. */
enum err_code segment_new_read_range(struct segment_new *segment, struct db *db,
                                     const struct uuid *after, const struct uuid *until,
                                     struct err *e) MUST_CHECK;
/* Reads these jobs, which are in order; those that are gone are left out. */
enum err_code segment_new_read_ids(struct segment_new *segment, struct db *db,
                                   const struct uuid *ids, size_t count, struct err *e) MUST_CHECK;

/* Within a transaction. Writes nothing when it holds no job. */
enum err_code segment_new_write(struct segment_new *segment, struct db *db, bool is_late,
                                struct err *e) MUST_CHECK;

#endif
