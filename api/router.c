/* SPDX-License-Identifier: MIT
 *
 * Exact routing by segments; see router.h. Owns nothing, opens nothing.
 */
#include "api/router.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/text.h"

enum { SEGMENTS_MAX = 8 };

/* A path cut at its slashes; "/a/b/" and "/a/b" have the same segments. */
struct segments {
    struct {
        const char *text;
        size_t len;
    } items[SEGMENTS_MAX];
    size_t count;
    bool slash_at_end;
};

static size_t segment_len(const char *text)
{
    size_t len = 0;

    while (text[len] && text[len] != '/')
        len++;
    return len;
}

static bool split(const char *path, struct segments *ret)
{
    ret->count = 0;
    ret->slash_at_end = false;
    if (*path != '/')
        return false;
    for (const char *p = path + 1; *p;) {
        size_t len = segment_len(p);

        if (len == 0 || ret->count == SEGMENTS_MAX)
            return false;
        ret->items[ret->count].text = p;
        ret->items[ret->count++].len = len;
        p += len;
        ret->slash_at_end = *p == '/';
        if (*p == '/')
            p++;
    }
    if (ret->count == 0)
        ret->slash_at_end = true;
    return true;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) % 16 : -1;
}

/* Decodes one segment of the request. False: nothing that a parameter or a literal may hold. */
static bool decode(const char *text, size_t len, char out[ROUTE_PARAM_SIZE])
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '%') {
            int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(text[i + 2]) : -1;

            if (low < 0)
                return false;
            c = (unsigned char)(high * 16 + low);
            i += 2;
        } else if (c == ';') {
            return false;
        }
        if (c < 0x20 || c == 0x7f || c == '/' || c == '\\' || n + 1 == ROUTE_PARAM_SIZE)
            return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return text_is_utf8(out, n) && strcmp(out, ".") != 0 && strcmp(out, "..") != 0;
}

static bool is_param(const char *segment) { return *segment == '<'; }

static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
enum { METHODS = sizeof methods / sizeof methods[0] };

/* ---- the table, prepared ---- */

/* One pattern, cut once, with all its methods in the order of Django REST framework. */
struct pattern {
    const char *text;
    struct segments parts;
    size_t literals;
    const struct route *by_method[METHODS];
    char allow[ROUTE_ALLOW_SIZE];
};

struct router {
    size_t count;
    struct pattern patterns[]; /* those with the most literal segments first */
};

static void add_allow(char *allow, const char *method)
{
    size_t len = strlen(allow);
    size_t more = strlen(method);

    /* The methods are our own constants and fit. */
    if (len > 0) {
        allow[len++] = ',';
        allow[len++] = ' ';
    }
    memcpy(allow + len, method, more + 1);
}

static void fill_allow(struct pattern *pattern)
{
    for (size_t m = 0; m < METHODS; m++)
        if (pattern->by_method[m])
            add_allow(pattern->allow, methods[m]);
    if (pattern->by_method[0])
        add_allow(pattern->allow, "HEAD");
    add_allow(pattern->allow, "OPTIONS");
}

/* The row of a pattern's text, made when it is new. */
static struct pattern *pattern_of(struct router *router, const char *text)
{
    struct pattern *pattern;

    for (size_t i = 0; i < router->count; i++)
        if (strcmp(router->patterns[i].text, text) == 0)
            return &router->patterns[i];
    pattern = &router->patterns[router->count++];
    pattern->text = text;
    (void)split(text, &pattern->parts);
    for (size_t i = 0; i < pattern->parts.count; i++)
        pattern->literals += !is_param(pattern->parts.items[i].text);
    if (pattern->parts.count - pattern->literals > ROUTE_PARAMS_MAX)
        abort(); /* our own mistake */
    return pattern;
}

static int by_literals(const void *a, const void *b)
{
    const struct pattern *one = a;
    const struct pattern *other = b;

    return (one->literals < other->literals) - (one->literals > other->literals);
}

struct router *router_new(const struct route *routes, size_t count)
{
    struct router *router = mem_alloc(sizeof *router + count * sizeof *router->patterns);

    for (size_t i = 0; i < count; i++) {
        struct pattern *pattern = pattern_of(router, routes[i].pattern);

        for (size_t m = 0; m < METHODS; m++)
            if (strcmp(routes[i].method, methods[m]) == 0)
                pattern->by_method[m] = &routes[i];
    }
    for (size_t i = 0; i < router->count; i++)
        fill_allow(&router->patterns[i]);
    if (router->count > 0)
        qsort(router->patterns, router->count, sizeof *router->patterns, by_literals);
    return router;
}

void router_free(struct router *router) { mem_free(router); }

/* ---- a request ---- */

/* A literal is compared as it was sent: "/%61pi/" is not "/api/". */
static bool matches(const struct pattern *pattern, const struct segments *path)
{
    if (pattern->parts.count != path->count)
        return false;
    /* Without its slash a path may only come close to a pattern that ends with one. */
    if (path->slash_at_end && !pattern->parts.slash_at_end)
        return false;
    /* From the end: most begin alike. */
    for (size_t i = path->count; i-- > 0;) {
        const char *wanted = pattern->parts.items[i].text;
        size_t len = path->items[i].len;

        if (!is_param(wanted) &&
            (pattern->parts.items[i].len != len || memcmp(wanted, path->items[i].text, len) != 0))
            return false;
    }
    return true;
}

/* The best pattern for the path: the one with the most literal segments. */
static const struct pattern *find_pattern(const struct router *router, const struct segments *path)
{
    for (size_t i = 0; i < router->count; i++)
        if (matches(&router->patterns[i], path))
            return &router->patterns[i];
    return NULL;
}

/* False: a parameter is nothing that one may be. */
static bool fill_params(const struct pattern *pattern, const struct segments *path,
                        struct route_match *match)
{
    for (size_t i = 0; i < path->count; i++) {
        if (!is_param(pattern->parts.items[i].text))
            continue;
        if (!decode(path->items[i].text, path->items[i].len, match->params[match->params_count]))
            return false;
        match->params_count++;
    }
    return true;
}

static const struct route *any_route(const struct pattern *pattern)
{
    size_t m = 0;

    while (m + 1 < METHODS && !pattern->by_method[m])
        m++;
    return pattern->by_method[m];
}

static const struct route *find_method(const struct pattern *pattern, const char *method)
{
    if (strcmp(method, "HEAD") == 0)
        return pattern->by_method[0];
    for (size_t m = 0; m < METHODS; m++)
        if (strcmp(method, methods[m]) == 0)
            return pattern->by_method[m];
    return NULL;
}

static enum route_outcome decide(const struct pattern *pattern, const struct segments *path,
                                 const char *method, struct route_match *match)
{
    const struct route *found;

    if (pattern->parts.slash_at_end && !path->slash_at_end)
        return ROUTE_ADD_SLASH;
    memcpy(match->allow, pattern->allow, sizeof match->allow);
    if (strcmp(method, "OPTIONS") == 0)
        return ROUTE_OPTIONS;
    found = find_method(pattern, method);
    if (!found)
        return ROUTE_WRONG_METHOD;
    match->route = found;
    return ROUTE_FOUND;
}

enum route_outcome router_match(const struct router *router, const char *method, const char *path,
                                struct route_match *ret_match)
{
    struct segments parts;
    const struct pattern *pattern;

    ret_match->route = NULL;
    ret_match->allow[0] = '\0';
    ret_match->params_count = 0;
    if (!split(path, &parts))
        return ROUTE_NOT_FOUND;
    pattern = find_pattern(router, &parts);
    if (!pattern || !fill_params(pattern, &parts, ret_match))
        return ROUTE_NOT_FOUND;
    ret_match->route = any_route(pattern);
    return decide(pattern, &parts, method, ret_match);
}
