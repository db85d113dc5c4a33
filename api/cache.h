/* SPDX-License-Identifier: MIT
 *
 * Answers about the catalogue out of memory or Redis, and answers that need not be sent again
 * (ETag, 304).
 */
#ifndef API_CACHE_H
#define API_CACHE_H

#include "api/http.h"

/* What of the catalogue an answer shows. */
enum cache_part {
    CACHE_SHAPE, /* nothing that orders change */
    CACHE_ROW,   /* one product; the handler notes its row */
    CACHE_LIST,  /* products by some rule; the handler notes their rows */
};

/* Runs the handler of a GET whose answer is the same for all users and made of the catalogue alone,
 * unless its answer is there and still good. Without Redis it just runs. */
enum err_code cache_serve(struct request *req, struct reply *reply, enum cache_part part,
                          http_handler *handler, struct err *e) MUST_CHECK;

/* By its handler: the rows that the answer shows, as catalogue_rows_read() takes them. */
void cache_note_rows(const struct request *req, const char *rows);
/* They do not tell all that it is made of. */
void cache_forget_rows(const struct request *req);

/* Gives a GET's answer its ETag, and turns it into 304 when the client has it. */
void cache_tag(const struct request *req, struct reply *reply);

/* Whether one of the tags of an If-None-Match or If-Match header is `tag`. Pure. */
bool cache_matches(const char *header, const char *tag);

#endif
