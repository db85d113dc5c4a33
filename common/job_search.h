/* SPDX-License-Identifier: MIT
 *
 * What people type to find jobs: Flower's syntax. Words stand for "and" (AND may stand between
 * them), OR for "or", brackets group, quotes keep blanks; there is no "not":
 *
 *   order-17 (state:FAILURE OR state:RETRY) name:mail kwargs:user=7 result:"timed out"
 *
 * A word alone is looked for in name, id, state, worker, args, kwargs, result and error; name:,
 * worker:, queue:, args:, result: and error: in that alone, state: is the state, kwargs:KEY=VALUE
 * looks for VALUE in one of the kwargs, kwargs:VALUE in all. Case does not matter, but for AND and
 * OR. Pure: jobs_view.c makes SQL parameters of it, never text of a statement.
 */
#ifndef COMMON_JOB_SEARCH_H
#define COMMON_JOB_SEARCH_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

enum {
    JOB_SEARCH_BYTES = 1000, /* of the text */
    JOB_SEARCH_TERMS = 16,
    JOB_SEARCH_GROUPS = 32, /* alternatives, once all brackets are resolved */
    JOB_SEARCH_WORD_MIN = 3 /* characters of what is looked for anywhere */
};

enum job_search_kind {
    SEARCH_ANY,
    SEARCH_NAME,
    SEARCH_STATE,
    SEARCH_WORKER,
    SEARCH_ARGS,
    SEARCH_KWARGS,
    SEARCH_RESULT,
    SEARCH_QUEUE,
    SEARCH_ERROR,
};

struct job_search_term {
    enum job_search_kind kind;
    char key[JOB_SEARCH_BYTES + 1];  /* of kwargs */
    char text[JOB_SEARCH_BYTES + 1]; /* in lower case; a state in upper case */
};

/* Alternatives of terms that hold together: for C as sets of bits over the terms, for SQL as four
 * arrays of the same length, one element a term: number of the alternative, kind, key, text. */
struct job_search {
    struct job_search_term *terms; /* owned */
    size_t term_count;
    uint32_t alternatives[JOB_SEARCH_GROUPS];
    size_t alternative_count;
    struct buf groups;
    struct buf kinds;
    struct buf keys;
    struct buf texts;
    size_t count; /* 0: nothing is looked for */
};

/* ERR_INVALID says what is wrong. To be released in any case. */
enum err_code job_search_parse(const char *text, struct job_search *ret_search,
                               struct err *e) MUST_CHECK;
void job_search_release(struct job_search *search);

#endif
