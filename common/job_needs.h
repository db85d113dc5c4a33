/* SPDX-License-Identifier: MIT
 *
 * What a search needs of the index of jobs: the grams that each job has which it can mean, and in
 * which order to ask for them. Pure; private to job_segments.c.
 *
 *   struct job_needs needs;
 *   job_needs_plan(&needs, filter);
 *   needs.weights[i] = ... of each of needs.count grams
 *   count = job_needs_order(&needs, alternative, order, &terms);
 */
#ifndef COMMON_JOB_NEEDS_H
#define COMMON_JOB_NEEDS_H

#include "common/job_grams.h"
#include "common/jobs_view.h"

enum {
    JOB_NEEDS_MAX = 256,     /* grams of a search */
    JOB_NEEDS_SHARED = 192,  /* of them for its words, ... */
    JOB_NEEDS_TERM_MAX = 48, /* ... and for one of them */
};

struct job_needs {
    uint32_t grams[JOB_NEEDS_MAX];
    int64_t weights[JOB_NEEDS_MAX]; /* how common each is; to be filled in by who knows */
    size_t count;
    /* Of each alternative: 0 when it does not need the gram, else the number of the term that does,
     * from 1. */
    unsigned char terms[JOB_SEARCH_GROUPS][JOB_NEEDS_MAX];
    size_t alternative_count;
};

/* What the filter needs of every job. */
void job_needs_plan(struct job_needs *needs, const struct jobs_filter *filter);

/* The grams of an alternative as numbers of needs->grams: the rarest of all first, then the rarest
 * of each of the other terms, then the second of each, and so on. Grams of one word say much the
 * same: those of another say more. `ret_terms`: of how many terms they are. */
size_t job_needs_order(const struct job_needs *needs, size_t alternative,
                       size_t ret_order[JOB_NEEDS_MAX], size_t *ret_terms);

#endif
