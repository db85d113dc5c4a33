/* SPDX-License-Identifier: MIT
 *
 * Which pages of other origins may read our answers: those of an exact list, and no others.
 */
#ifndef API_CORS_H
#define API_CORS_H

#include <stdbool.h>

#include "common/err.h"

struct request;
struct reply;

/* Whether `origin` is one of the comma-separated `list`, letter by letter. Pure. */
bool cors_is_listed(const char *list, const char *origin);

/* ERR_INVALID for what is no origin: "*", a path, no scheme. Pure. */
enum err_code cors_check(const char *list, struct err *e) MUST_CHECK;

/* OPTIONS by which a browser asks for a page of a listed origin: it carries no token. */
bool cors_is_preflight(const struct request *req);

/* The headers of an answer. */
void cors_finish(const struct request *req, struct reply *reply);

#endif
