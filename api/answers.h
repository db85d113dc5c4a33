/* SPDX-License-Identifier: MIT
 *
 * Answers kept in the memory of this process, before those in Redis (cache.h), each under the
 * version of what it was made of. They are bounded: what was asked for least lately goes first.
 *
 * May be called from any thread, after answers_init().
 */
#ifndef API_ANSWERS_H
#define API_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

enum { ANSWER_TAG_SIZE = 35 }; /* of an ETag, with its quotes and its NUL */

/* Keeps so many bytes at most; 0: nothing. To be called once, before any thread. */
void answers_init(size_t bytes_max);

/* Adds the answer of that name and version, if it is not too old by the monotonic clock, to `body`
 * and gives its ETag. False: it is not there. */
bool answers_find(const struct buf *name, int64_t version, int64_t now_us, struct buf *body,
                  char ret_tag[ANSWER_TAG_SIZE]);

void answers_keep(const struct buf *name, int64_t version, const struct buf *body);

/* The ETag of an answer. Pure. */
void answers_tag(const struct buf *body, char ret_tag[ANSWER_TAG_SIZE]);

/* Frees all of them. */
void answers_end(void);

#endif
