/* SPDX-License-Identifier: MIT
 *
 * One error shape for the whole tree: a code that decides what happens next (retry, status, exit
 * code) and a text for people. Every function that can fail returns the code and takes a
 * `struct err *` last, which may be NULL and belongs to the caller.
 *
 *   struct err e = {0};
 *   enum err_code rc = db_begin(db, &e);
 *   if (rc)
 *       return rc;
 *
 * The first error wins: err_set() on a struct that already holds one changes nothing but returns
 * the code it was given. Texts are lower case, without full stop, and fit for a client; what a
 * driver said goes into `detail`, which is for the log alone.
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include <stdbool.h>

#define ERR_CODES(X)                                                                               \
    X(OK, "ok")                                                                                    \
    X(INVALID, "invalid")         /* the input is wrong; the same input stays wrong */             \
    X(DENIED, "denied")           /* known, but not allowed */                                     \
    X(NOT_FOUND, "not_found")     /* does not exist, or not for this caller */                     \
    X(CONFLICT, "conflict")       /* exists already, or somebody else was first */                 \
    X(UNAVAILABLE, "unavailable") /* a server we need is away; worth retrying */                   \
    X(TIMEOUT, "timeout")         /* no answer in time; the outcome may be unknown */              \
    X(PROTOCOL, "protocol") /* the other side answered with something we do not understand */      \
    X(NOMEM, "nomem")                                                                              \
    X(INTERNAL, "internal") /* our own mistake */

enum err_code {
#define X(name, text) ERR_##name,
    ERR_CODES(X)
#undef X
};

struct err {
    enum err_code code;
    char text[200];
    char detail[300];
};

#define MUST_CHECK __attribute__((warn_unused_result))

/* Records the error unless one is recorded already. Returns `code` always. */
enum err_code err_set(struct err *e, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As err_set(), with the driver's own words for the log. `detail` may be NULL. */
enum err_code err_set_detail(struct err *e, enum err_code code, const char *detail,
                             const char *format, ...) __attribute__((format(printf, 4, 5)));

void err_clear(struct err *e);
const char *err_name(enum err_code code);

/* The one place that says whether the same call may succeed later. */
bool err_is_transient(enum err_code code);

#endif
