/* SPDX-License-Identifier: MIT
 *
 * Routing: any path and method find at most one route, whose parameters are text without a slash, a
 * NUL or a control character, and "/%2e%2e/" leads nowhere.
 */
#include "tests/fuzz/target.h"

#include "api/router.h"
#include "common/auto.h"
#include "common/text.h"

FUZZ_TARGET(router, path, size)
{
    static const struct route routes[] = {
        {"GET", "/", 0, NULL},
        {"GET", "/api/orders/", 1, NULL},
        {"POST", "/api/orders/", 1, NULL},
        {"GET", "/api/orders/<id>/", 1, NULL},
        {"POST", "/api/orders/<id>/cancel/", 1, NULL},
        {"GET", "/<a>/<b>/<c>", 0, NULL},
    };
    static const char *const methods[] = {"GET", "HEAD", "POST", "DELETE", "OPTIONS", "?"};

    static struct router *router;

    (void)size;
    if (!router)
        router = router_new(routes, COUNT_OF(routes));
    for (size_t m = 0; m < COUNT_OF(methods); m++) {
        struct route_match match;
        enum route_outcome outcome = router_match(router, methods[m], path, &match);

        MUST(outcome == ROUTE_NOT_FOUND || match.route);
        MUST(match.params_count <= ROUTE_PARAMS_MAX);
        for (size_t i = 0; i < match.params_count; i++) {
            const char *param = match.params[i];

            MUST(*param && strlen(param) < ROUTE_PARAM_SIZE && !strchr(param, '/'));
            MUST(text_is_utf8(param, strlen(param)) && strcmp(param, "..") != 0);
            for (; *param; param++)
                MUST((unsigned char)*param >= 0x20 && *param != 0x7f);
        }
    }
}
