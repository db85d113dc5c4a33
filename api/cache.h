/* SPDX-License-Identifier: MIT
 *
 * Answers about the catalogue out of memory or Redis, and answers that need not be sent again
 * (ETag, 304).
 */
#ifndef API_CACHE_H
#define API_CACHE_H

#include "api/http.h"

/* Runs the handler of a GET whose answer is the same for all users and made of the catalogue alone,
 * unless its answer of this version is there. Without Redis it just runs. */
enum err_code cache_serve(struct request *req, struct reply *reply, http_handler *handler,
                          struct err *e) MUST_CHECK;

/* Gives a GET's answer its ETag, and turns it into 304 when the client has it. */
void cache_tag(const struct request *req, struct reply *reply);

/* Whether one of the tags of an If-None-Match header is `tag`. Pure. */
bool cache_matches(const char *header, const char *tag);

#endif
