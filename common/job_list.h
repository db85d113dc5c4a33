/* SPDX-License-Identifier: MIT
 *
 * Jobs that a statement has made ready, on their way from the table into their streams. Whoever
 * gets a list pushes it after the commit; what is not pushed (crash, no Redis) stays marked as
 * meant for its stream, and the scheduler puts it there.
 */
#ifndef COMMON_JOB_LIST_H
#define COMMON_JOB_LIST_H

#include <stddef.h>

#include "common/db.h"
#include "common/err.h"
#include "common/jobs.h"
#include "common/redis.h"

/* Ids that have to be pushed, grouped by nothing. Owned; job_list_release() frees it. */
struct job_list {
    struct job_ready *items;
    size_t count;
};

void job_list_release(struct job_list *list);

/* Rows of (id, queue, priority) as a list. */
struct job_list job_list_from_rows(const struct db_result *rows);

/* Pushes all of them, in one round trip a stream. A second push is harmless. */
enum err_code job_list_push(const struct job_list *list, struct redis *redis,
                            struct err *e) MUST_CHECK;

#endif
