/* SPDX-License-Identifier: MIT
 *
 * Jobs in one of the orders that are not those of their ids. Pure.
 */
#ifndef COMMON_JOB_SORT_H
#define COMMON_JOB_SORT_H

#include "common/jobs_view.h"

/* By task, state, started_us or running time, then the newest first. */
void jobs_sort(struct job_view *items, size_t count, enum jobs_order order);

#endif
