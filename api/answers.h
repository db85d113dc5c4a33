/* SPDX-License-Identifier: MIT
 *
 * Answers kept in the memory of this process, before those in Redis (cache.h), each under what it
 * was made of: a version of the whole catalogue, a token of the rows that it shows, or both
 * (common/catalogue.h). They are bounded: what was asked for least lately goes first.
 *
 * May be called from any thread, after answers_init().
 */
#ifndef API_ANSWERS_H
#define API_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/leases.h"
#include "common/buf.h"
#include "common/catalogue.h"

enum { ANSWER_TAG_SIZE = 35 }; /* of an ETag, with its quotes and its NUL */

/* Keeps so many bytes at most; 0: nothing. To be called once, before any thread. */
void answers_init(size_t bytes_max);

/* How things stand for a request. */
struct answers_now {
    int64_t version;
    int64_t token;            /* of the rows that answers_rows() told; 0: nobody knows */
    struct lease_stamp stamp; /* of who told the token */
    bool is_leased;           /* a lease told the version, and a stamp may tell of the rows */
    /* Now and then an answer that is known by its rows alone is not to be found, so that it is made
     * anew with a version: that is worth more, since it tells of all answers at once. */
    bool wants_version;
    int64_t us; /* monotonic */
};

/* Adds the answer of that name, if it is of that version or those rows and not too old, to `body`
 * and gives its ETag. False: it is not there. */
bool answers_find(const struct buf *name, const struct answers_now *now, struct buf *body,
                  char ret_tag[ANSWER_TAG_SIZE]);

/* The ids of the rows that the answer of that name shows, whatever it was made of. False: nobody
 * knows. */
bool answers_rows(const struct buf *name, struct catalogue_rows *ret_rows);

/* What an answer was made of. */
struct answers_made {
    int64_t version;                   /* 0: of none that stood still */
    int64_t token;                     /* 0: nobody knows */
    const struct catalogue_rows *rows; /* NULL: nobody knows; else they may be as of now */
    struct lease_stamp stamp;
};
void answers_keep(const struct buf *name, const struct answers_made *of, const struct buf *body);

/* The ETag of an answer. Pure. */
void answers_tag(const struct buf *body, char ret_tag[ANSWER_TAG_SIZE]);

/* Frees all of them. */
void answers_end(void);

#endif
