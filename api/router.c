/* SPDX-License-Identifier: MIT
 *
 * Exact routing by segments; see router.h. Owns nothing, opens nothing.
 */
#include "api/router.h"

#include <string.h>

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

static bool split(const char *path, struct segments *ret)
{
    *ret = (struct segments){0};
    if (*path != '/')
        return false;
    for (const char *p = path + 1; *p;) {
        size_t len = strcspn(p, "/");

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

/* Compares path and pattern; `ret_literals` counts the segments that were equal by text. */
static bool matches(const struct segments *pattern, const struct segments *path,
                    char decoded[SEGMENTS_MAX][ROUTE_PARAM_SIZE], int *ret_literals)
{
    *ret_literals = 0;
    if (pattern->count != path->count)
        return false;
    for (size_t i = 0; i < path->count; i++) {
        const char *wanted = pattern->items[i].text;

        if (is_param(wanted))
            continue;
        /* A literal is compared as it was sent: "/%61pi/" is not "/api/". */
        if (pattern->items[i].len != path->items[i].len ||
            memcmp(wanted, path->items[i].text, path->items[i].len) != 0 ||
            strlen(decoded[i]) != path->items[i].len)
            return false;
        (*ret_literals)++;
    }
    return true;
}

static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
enum { METHODS = sizeof methods / sizeof methods[0] };

/* The routes of one pattern by method, in the order in which Django REST framework has them. */
static void find_methods(const struct route *routes, size_t count, const char *pattern,
                         const struct route *ret_found[METHODS])
{
    for (size_t m = 0; m < METHODS; m++)
        ret_found[m] = NULL;
    for (size_t i = 0; i < count; i++)
        if (strcmp(routes[i].pattern, pattern) == 0)
            for (size_t m = 0; m < METHODS; m++)
                if (strcmp(routes[i].method, methods[m]) == 0)
                    ret_found[m] = &routes[i];
}

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

static void fill_allow(const struct route *const found[METHODS], char allow[ROUTE_ALLOW_SIZE])
{
    *allow = '\0';
    for (size_t m = 0; m < METHODS; m++)
        if (found[m])
            add_allow(allow, methods[m]);
    if (found[0])
        add_allow(allow, "HEAD");
    add_allow(allow, "OPTIONS");
}

static void fill_params(const struct segments *pattern,
                        char decoded[SEGMENTS_MAX][ROUTE_PARAM_SIZE], struct route_match *match)
{
    for (size_t i = 0; i < pattern->count && match->params_count < ROUTE_PARAMS_MAX; i++)
        if (is_param(pattern->items[i].text))
            memcpy(match->params[match->params_count++], decoded[i], ROUTE_PARAM_SIZE);
}

/* Whether they are the same until a parameter begins or one of them ends, which most are not. */
static bool begin_alike(const char *pattern, const char *path)
{
    while (*pattern && *pattern != '<' && *pattern == *path) {
        pattern++;
        path++;
    }
    return !*pattern || *pattern == '<' || !*path;
}

/* The best pattern for the path: the one with the most literal segments. */
static const struct route *find_pattern(const struct route *routes, size_t count, const char *raw,
                                        const struct segments *path,
                                        char decoded[SEGMENTS_MAX][ROUTE_PARAM_SIZE])
{
    const struct route *best = NULL;
    int best_literals = -1;

    for (size_t i = 0; i < count; i++) {
        struct segments pattern;
        int literals;

        if (!begin_alike(routes[i].pattern, raw))
            continue;
        if (!split(routes[i].pattern, &pattern) || !matches(&pattern, path, decoded, &literals))
            continue;
        /* Without its slash a path may only come close to a pattern that ends with one. */
        if (pattern.slash_at_end != path->slash_at_end && path->slash_at_end)
            continue;
        if (literals > best_literals) {
            best = &routes[i];
            best_literals = literals;
        }
    }
    return best;
}

static const struct route *find_method(const struct route *const found[METHODS], const char *method)
{
    if (strcmp(method, "HEAD") == 0)
        return found[0];
    for (size_t m = 0; m < METHODS; m++)
        if (found[m] && strcmp(method, methods[m]) == 0)
            return found[m];
    return NULL;
}

enum route_outcome router_match(const struct route *routes, size_t count, const char *method,
                                const char *path, struct route_match *ret_match)
{
    char decoded[SEGMENTS_MAX][ROUTE_PARAM_SIZE];
    struct segments parts;
    struct segments pattern;
    const struct route *by_method[METHODS];
    const struct route *found;

    *ret_match = (struct route_match){0};
    if (!split(path, &parts))
        return ROUTE_NOT_FOUND;
    for (size_t i = 0; i < parts.count; i++)
        if (!decode(parts.items[i].text, parts.items[i].len, decoded[i]))
            return ROUTE_NOT_FOUND;
    found = find_pattern(routes, count, path, &parts, decoded);
    if (!found)
        return ROUTE_NOT_FOUND;
    ret_match->route = found;
    (void)split(found->pattern, &pattern);
    if (pattern.slash_at_end && !parts.slash_at_end)
        return ROUTE_ADD_SLASH;
    find_methods(routes, count, found->pattern, by_method);
    fill_allow(by_method, ret_match->allow);
    fill_params(&pattern, decoded, ret_match);
    if (strcmp(method, "OPTIONS") == 0)
        return ROUTE_OPTIONS;
    found = find_method(by_method, method);
    if (!found)
        return ROUTE_WRONG_METHOD;
    ret_match->route = found;
    return ROUTE_FOUND;
}
