/* SPDX-License-Identifier: MIT
 *
 * Finding jobs by words, and by filters that let few of them through, among any number: see
 * common/job_index.h for the index. Used by jobs_list() alone.
 */
#ifndef COMMON_JOB_FIND_H
#define COMMON_JOB_FIND_H

#include "common/jobs_view.h"

enum {
    JOB_FIND_LOOKS = 3000,   /* jobs that one search reads */
    JOB_FIND_BYTES = 65536,  /* of args, kwargs, result, error; what is longer is not searched */
    JOB_FIND_OPEN_MAX = 1000 /* that fit, of those that run or wait since long */
};

/* Parameters of a statement that filters: $2 and $3 first and last id, $4 task, $5 queue,
 * $6 worker, $7 state, $8 part of the id, $9 and $10 first and last time of creation. */
struct job_bounds {
    struct uuid cursor;
    struct uuid from;
    struct uuid to;
    const char *text; /* NULL, like the times: any */
    const char *created_from;
    const char *created_to;
};

/* Adds to the page what comes after the cursor, up to `wanted` jobs in all, newest first or, with
 * `up`, oldest first. When it has looked at enough: `is_cut` and `next` of the page. */
enum err_code jobs_find_words(struct db *db, const struct jobs_filter *filter,
                              const struct job_bounds *bounds, bool up, size_t wanted,
                              struct jobs_page *page, struct err *e) MUST_CHECK;

/* The same in an order that is not that of the ids: of the newest JOB_FIND_LOOKS that may fit, at
 * least the first `wanted` that do, in order. The others are put in order, but not looked at. */
enum err_code jobs_find_sorted(struct db *db, const struct jobs_filter *filter,
                               const struct job_bounds *bounds, size_t wanted,
                               struct jobs_page *page, struct err *e) MUST_CHECK;

#endif
