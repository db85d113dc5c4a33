/* SPDX-License-Identifier: MIT
 *
 * Paths to handlers.
 */
#include "api/router.h"

#include <string.h>

#include <criterion/criterion.h>

#include "api/api.h"
#include "common/auto.h"

static enum err_code nothing(struct request *req, struct reply *reply, struct err *e)
{
    (void)req;
    (void)reply;
    (void)e;
    return ERR_OK;
}

static const struct route routes[] = {
    {"GET", "/", 0, nothing},        {"GET", "/healthz", 0, nothing},
    {"GET", "/a/<id>/", 1, nothing}, {"DELETE", "/a/<id>/", 1, nothing},
    {"POST", "/a/", 1, nothing},     {"GET", "/a/", 1, nothing},
    {"GET", "/a/new/", 2, nothing},  {"GET", "/a/<id>/b/<name>/", 1, nothing},
};

static enum route_outcome match(const char *method, const char *path, struct route_match *m)
{
    static struct router *router;

    if (!router)
        router = router_new(routes, COUNT_OF(routes));
    return router_match(router, method, path, m);
}

static enum route_outcome outcome(const char *path)
{
    struct route_match m;

    return match("GET", path, &m);
}

Test(router, finds_exact_paths)
{
    struct route_match m;

    cr_assert_eq(match("GET", "/a/", &m), ROUTE_FOUND);
    cr_assert_eq(m.route, &routes[5]);
    cr_assert_eq(match("POST", "/a/", &m), ROUTE_FOUND);
    cr_assert_eq(m.route, &routes[4]);
    cr_assert_eq(match("GET", "/", &m), ROUTE_FOUND);
    cr_assert_eq(match("GET", "/healthz", &m), ROUTE_FOUND);
}

Test(router, gives_decoded_parameters)
{
    struct route_match m;

    cr_assert_eq(match("GET", "/a/x%20%C3%A4/b/y/", &m), ROUTE_FOUND);
    cr_assert_eq(m.params_count, 2);
    cr_assert_str_eq(m.params[0], "x \xc3\xa4");
    cr_assert_str_eq(m.params[1], "y");
}

Test(router, prefers_literals_whatever_the_order)
{
    struct route_match m;

    cr_assert_eq(match("GET", "/a/new/", &m), ROUTE_FOUND);
    cr_assert_eq(m.route, &routes[6]);
}

Test(router, adds_a_missing_slash_and_takes_none_away)
{
    cr_assert_eq(outcome("/a"), ROUTE_ADD_SLASH);
    cr_assert_eq(outcome("/a/7"), ROUTE_ADD_SLASH);
    cr_assert_eq(outcome("/healthz/"), ROUTE_NOT_FOUND);
}

Test(router, lists_the_methods_of_a_path)
{
    struct route_match m;

    cr_assert_eq(match("PUT", "/a/7/", &m), ROUTE_WRONG_METHOD);
    cr_assert_str_eq(m.allow, "GET, DELETE, HEAD, OPTIONS");
    cr_assert_eq(match("OPTIONS", "/a/", &m), ROUTE_OPTIONS);
    cr_assert_str_eq(m.allow, "GET, POST, HEAD, OPTIONS");
    cr_assert_eq(match("HEAD", "/a/", &m), ROUTE_FOUND);
    cr_assert_eq(m.route, &routes[5]);
    cr_assert_eq(match("get", "/a/", &m), ROUTE_WRONG_METHOD);
}

Test(router, finds_nothing_that_is_ambiguous)
{
    static const char *const paths[] = {
        "",           "a/",        "//a/",      "/a//",       "/A/",
        "/a/;/",      "/a;b/",     "/a/7;b/",   "/a/%00/",    "/a/7%00/",
        "/a/%2f/",    "/a/x%2Fy/", "/a/%5c/",   "/a/../a/",   "/a/./",
        "/a/%2e%2e/", "/a/%2e/",   "/%61/",     "/a/%/",      "/a/%4/",
        "/a/%zz/",    "/a/%0a/",   "/a/%7f/",   "/a/%ff/",    "/a/b/c/d/e/f/g/h/i/j/",
        "/b/",        "/a/7/b/",   "/healthzz", "/a/%C0%AF/",
    };

    for (size_t i = 0; i < COUNT_OF(paths); i++)
        cr_assert_eq(outcome(paths[i]), ROUTE_NOT_FOUND, "%s", paths[i]);
}

Test(router, bounds_parameters)
{
    char path[400] = "/a/";

    memset(path + 3, 'x', ROUTE_PARAM_SIZE - 1);
    memcpy(path + 3 + ROUTE_PARAM_SIZE - 1, "/", 2);
    cr_assert_eq(outcome(path), ROUTE_FOUND);
    memset(path + 3, 'x', ROUTE_PARAM_SIZE);
    memcpy(path + 3 + ROUTE_PARAM_SIZE, "/", 2);
    cr_assert_eq(outcome(path), ROUTE_NOT_FOUND);
}

Test(router, every_row_of_the_api_is_reached)
{
    struct router *router = router_new(api_routes, api_routes_count);

    for (size_t i = 0; i < api_routes_count; i++) {
        struct route_match m;

        cr_assert_eq(router_match(router, api_routes[i].method, api_routes[i].pattern, &m),
                     ROUTE_FOUND, "%s", api_routes[i].pattern);
        cr_assert_eq(m.route, &api_routes[i], "%s", api_routes[i].pattern);
    }
    router_free(router);
}
