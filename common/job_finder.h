/* SPDX-License-Identifier: MIT
 *
 * One search under way: what it asks the database, and how a job that may fit comes to the page.
 * Private to job_find.c and job_due.c, which know where to look.
 */
#ifndef COMMON_JOB_FINDER_H
#define COMMON_JOB_FINDER_H

#include "common/found_ids.h"
#include "common/job_find.h"

enum finder_statement {
    FIND_MARK,
    FIND_TAIL_DOWN,
    FIND_TAIL_UP,
    FIND_TAIL_END_DOWN,
    FIND_TAIL_END_UP,
    FIND_OPEN_DOWN,
    FIND_OPEN_UP,
    FIND_OPEN_END_DOWN,
    FIND_OPEN_END_UP,
    FIND_RETRY_END_DOWN,
    FIND_RETRY_END_UP,
    FIND_LOOK,
    FIND_KEYS,
};

enum { FINDER_BATCH = 64, FINDER_PARAMS = 16 };
enum {
    FIND_OPEN_WINDOW = 10000, /* open jobs that one search reads, when they may be meant ... */
    FIND_OPEN_ENDED = 2000,   /* ... and when they are only if they have ended since */
};

struct finder {
    struct db *db;
    const struct jobs_filter *filter;
    struct job_bounds bounds; /* its cursor moves */
    bool up;
    size_t wanted;
    size_t batch;             /* so many are read at once; FINDER_BATCH to begin with */
    size_t looked;            /* at so many jobs so far */
    int64_t bytes;            /* of their texts */
    bool is_sorted;           /* in another order than that of the ids: whole batches, and ... */
    struct found_ids *sorted; /* ... before, instead of a page: what may fit; not owned */
    struct jobs_page *page;
};

bool finder_has_words(const struct finder *f);
/* Whether jobs that wait, and have never run, may be looked for by their state. */
bool finder_means_waiting(const struct finder *f);
/* Whether there is no need, or no right, to look any further. */
bool finder_is_full(const struct finder *f);

/* `first` and `limit` are $1 and $11 of the statement; the others say what the filter does. */
void finder_params(const struct finder *f, const char *first, int limit,
                   struct db_param ret_params[FINDER_PARAMS]);
enum err_code finder_query(const struct finder *f, enum finder_statement statement,
                           const char *first, int limit, struct db_result **ret_rows,
                           struct err *e) MUST_CHECK;

/* Puts those that fit on the page, which keeps the rows. */
enum err_code finder_take_rows(struct finder *f, struct db_result *rows, bool reversed,
                               struct err *e) MUST_CHECK;

/* Of candidates, in order: a batch at a time, until the page is full. */
enum err_code finder_look_at(struct finder *f, const struct found_ids *ids,
                             struct err *e) MUST_CHECK;

/* Puts ids in the order that the filter asks for, by what their rows say; drops those that it does
 * not let through. */
enum err_code finder_sort(const struct finder *f, struct found_ids *ids, struct err *e) MUST_CHECK;

#endif
