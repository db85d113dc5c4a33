/* SPDX-License-Identifier: MIT
 *
 * From times to ids: which ids the jobs have that were made between two times. Used by jobs_list()
 * alone.
 */
#ifndef COMMON_JOB_BOUNDS_H
#define COMMON_JOB_BOUNDS_H

#include "common/job_find.h"

/* Narrows the first and the last id by the filter's times of creation, which are compared then. */
enum err_code job_bounds_by_time(struct db *db, const struct jobs_filter *filter,
                                 struct job_bounds *bounds, struct err *e) MUST_CHECK;

#endif
