/* SPDX-License-Identifier: MIT
 *
 * Which handler a path belongs to. Patterns are compared segment by segment, exactly and with
 * regard to case; "<name>" stands for one segment that is not empty. A literal segment wins over a
 * "<name>", so the order of the table never matters. The table is prepared once; matching does no
 * I/O and allocates nothing.
 */
#ifndef API_ROUTER_H
#define API_ROUTER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

struct request;
struct reply;

typedef enum err_code http_handler(struct request *req, struct reply *reply, struct err *e);

struct route {
    const char *method;  /* HEAD and OPTIONS come by themselves */
    const char *pattern; /* "/api/orders/<id>/" */
    int scope;           /* what the program's authorise hook makes of it; 0: nobody is asked */
    http_handler *handler;
};

enum {
    ROUTE_PARAMS_MAX = 4,
    ROUTE_PARAM_SIZE = 128, /* bytes of one path parameter, with its NUL */
    ROUTE_ALLOW_SIZE = 64,
};

enum route_outcome {
    ROUTE_FOUND,
    ROUTE_WRONG_METHOD, /* the path exists: 405 with `allow` */
    ROUTE_OPTIONS,      /* answer with `allow` alone */
    ROUTE_ADD_SLASH,    /* the path exists with a slash at its end */
    ROUTE_NOT_FOUND,
};

struct route_match {
    const struct route *route;    /* on WRONG_METHOD and OPTIONS any route of the path */
    char allow[ROUTE_ALLOW_SIZE]; /* "GET, POST, HEAD, OPTIONS" */
    char params[ROUTE_PARAMS_MAX][ROUTE_PARAM_SIZE]; /* percent-decoded */
    size_t params_count;
};

/* The routes are kept by reference. */
struct router;
struct router *router_new(const struct route *routes, size_t count);
void router_free(struct router *router); /* accepts NULL */

/* `path` is the raw path of the request, without query. Paths with a ';', an empty segment, an
 * encoded slash or NUL, or bytes that are not UTF-8 once decoded are not found. */
enum route_outcome router_match(const struct router *router, const char *method, const char *path,
                                struct route_match *ret_match);

#endif
