/* SPDX-License-Identifier: MIT
 *
 * The part of jobs_insert() and jobs_insert_many() that is for unique keys; jobs.c alone calls it.
 */
#ifndef COMMON_JOBS_UNIQUE_H
#define COMMON_JOBS_UNIQUE_H

#include <stddef.h>

#include "common/db.h"
#include "common/err.h"
#include "common/jobs.h"

/* All or none: in the caller's transaction, or in one of its own. `ready` has what job_ready_of()
 * gives, and gets what became of each. */
enum err_code jobs_insert_unique(struct db *db, const struct job_new *jobs, size_t count,
                                 struct job_ready *ready, struct err *e) MUST_CHECK;

#endif
