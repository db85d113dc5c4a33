/* SPDX-License-Identifier: MIT
 *
 * Cross-origin requests; see cors.h. Tokens travel in a header, so no credentials are allowed, and
 * an origin that is not listed gets no header at all.
 */
#include "api/cors.h"

#include <string.h>
#include <strings.h>

#include "api/api.h"

bool cors_is_listed(const char *list, const char *origin)
{
    size_t wanted = strlen(origin);

    while (*list && wanted > 0) {
        size_t len = strcspn(list, ",");
        size_t blanks = strspn(list, " ");
        size_t end = len;

        while (end > blanks && list[end - 1] == ' ')
            end--;
        if (end - blanks == wanted && memcmp(list + blanks, origin, wanted) == 0)
            return true;
        list += len + (list[len] == ',');
    }
    return false;
}

/* scheme://host[:port], lower case, as browsers send it. */
static bool is_origin(const char *text, size_t len)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789.-:[]";
    size_t scheme = len > 8 && memcmp(text, "https://", 8) == 0  ? 8
                    : len > 7 && memcmp(text, "http://", 7) == 0 ? 7
                                                                 : 0;

    return scheme > 0 && strspn(text + scheme, letters) >= len - scheme;
}

enum err_code cors_check(const char *list, struct err *e)
{
    while (*list) {
        size_t len = strcspn(list, ",");
        size_t blanks = strspn(list, " ");
        size_t end = len;

        while (end > blanks && list[end - 1] == ' ')
            end--;
        if (!is_origin(list + blanks, end - blanks))
            return err_set(e, ERR_INVALID,
                           "TILL_CORS_ORIGINS: \"%.*s\" is no origin such as "
                           "\"https://shop.example\"",
                           (int)(end - blanks), list + blanks);
        list += len + (list[len] == ',');
    }
    return ERR_OK;
}

static const char *listed_origin(const struct request *req)
{
    const char *origin = request_header(req, "Origin");

    return origin && cors_is_listed(api_of(req)->conf->cors_origins, origin) ? origin : NULL;
}

bool cors_is_preflight(const struct request *req)
{
    return strcmp(req->method, "OPTIONS") == 0 &&
           request_header(req, "Access-Control-Request-Method") && listed_origin(req);
}

void cors_finish(const struct request *req, struct reply *reply)
{
    const char *origin;

    if (!*api_of(req)->conf->cors_origins)
        return;
    reply_header(reply, "Vary", "Accept, Origin");
    origin = listed_origin(req);
    if (!origin)
        return;
    reply_header(reply, "Access-Control-Allow-Origin", origin);
    reply_header(reply, "Access-Control-Expose-Headers",
                 "ETag, Idempotent-Replayed, Location, Retry-After, X-Request-Id");
    if (!cors_is_preflight(req))
        return;
    reply_header(reply, "Access-Control-Allow-Methods", req->match.allow);
    reply_header(reply, "Access-Control-Allow-Headers",
                 "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
                 "X-Request-Id");
    reply_header(reply, "Access-Control-Max-Age", "600");
}
