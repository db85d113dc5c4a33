/* SPDX-License-Identifier: MIT
 *
 * The rules of framing.h. The corpus of what is refused stands in tests/integration/.
 */
#include "api/framing.h"

#include <string.h>
#include <strings.h>

#include "common/auto.h"
#include "common/text.h"

/* Which bytes a token has: RFC 9110, section 5.6.2. */
static const bool in_token[256] = {
    ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1,  ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1,
    ['8'] = 1, ['9'] = 1, ['A'] = 1, ['B'] = 1,  ['C'] = 1, ['D'] = 1, ['E'] = 1, ['F'] = 1,
    ['G'] = 1, ['H'] = 1, ['I'] = 1, ['J'] = 1,  ['K'] = 1, ['L'] = 1, ['M'] = 1, ['N'] = 1,
    ['O'] = 1, ['P'] = 1, ['Q'] = 1, ['R'] = 1,  ['S'] = 1, ['T'] = 1, ['U'] = 1, ['V'] = 1,
    ['W'] = 1, ['X'] = 1, ['Y'] = 1, ['Z'] = 1,  ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1,
    ['e'] = 1, ['f'] = 1, ['g'] = 1, ['h'] = 1,  ['i'] = 1, ['j'] = 1, ['k'] = 1, ['l'] = 1,
    ['m'] = 1, ['n'] = 1, ['o'] = 1, ['p'] = 1,  ['q'] = 1, ['r'] = 1, ['s'] = 1, ['t'] = 1,
    ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1,  ['y'] = 1, ['z'] = 1, ['!'] = 1, ['#'] = 1,
    ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,
    ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1,  ['~'] = 1,
};

static bool is_token(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    while (in_token[*p])
        p++;
    return *text && !*p;
}

/* A tab is none here. */
static bool has_control(const char *text)
{
    size_t len = strlen(text);
    size_t at = text_plain_span(text, len);

    while (at < len && text[at] == '\t') {
        at++;
        at += text_plain_span(text + at, len - at);
    }
    return at < len;
}

/* Most differ in their first letter, whatever its case. */
static bool is_named(const struct header *header, const char *name)
{
    return ((*header->name ^ *name) & ~0x20) == 0 && strcasecmp(header->name, name) == 0;
}

static bool is_host(const char *text)
{
    return *text && strcspn(text, " \t,/\\?#@<>\"") == strlen(text);
}

static int refuse(int status, const char *text, const char **ret_text)
{
    *ret_text = text;
    return status;
}

static int check_line(const char *method, const char *uri, const char *version,
                      const char **ret_text)
{
    if (!is_token(method))
        return refuse(400, "Malformed request line.", ret_text);
    if (strcmp(version, "1.1") != 0 && strcmp(version, "1.0") != 0)
        return refuse(505, "HTTP version not supported.", ret_text);
    if (*uri != '/' || has_control(uri) || strpbrk(uri, " \t"))
        return refuse(400, "Malformed request target.", ret_text);
    return 0;
}

/* Said twice each of these leaves open who asks, for what, or in which form: we would go by the
 * first, and another reader by the last. */
static const char *const once[] = {"Authorization", "Content-Type", "Idempotency-Key",
                                   "Stripe-Signature"};

/* What the headers say about themselves. */
struct seen {
    const char *length;
    unsigned once; /* a bit for each of those */
    int hosts;
    bool has_encoding;
};

static int check_header(const struct header *header, struct seen *seen, const char **ret_text)
{
    if (!is_token(header->name) || has_control(header->value))
        return refuse(400, "Malformed header.", ret_text);
    if (is_named(header, "Transfer-Encoding"))
        seen->has_encoding = true;
    if (is_named(header, "Host") && (++seen->hosts > 1 || !is_host(header->value)))
        return refuse(400, "Exactly one Host header is needed.", ret_text);
    if (is_named(header, "Content-Length")) {
        if (seen->length)
            return refuse(400, "More than one Content-Length header.", ret_text);
        seen->length = header->value;
    }
    for (unsigned i = 0; i < COUNT_OF(once); i++) {
        if (!is_named(header, once[i]))
            continue;
        if (seen->once & 1U << i)
            return refuse(400, "A header that may stand once stands there twice.", ret_text);
        seen->once |= 1U << i;
    }
    return 0;
}

int framing_check(const char *method, const char *uri, const char *version,
                  const struct header *headers, size_t count, int64_t *ret_length,
                  const char **ret_text)
{
    struct seen seen = {0};
    int status = check_line(method, uri, version, ret_text);

    *ret_length = 0;
    if (status)
        return status;
    if (count >= FRAMING_HEADERS_MAX)
        return refuse(431, "Too many headers.", ret_text);
    for (size_t i = 0; !status && i < count; i++)
        status = check_header(&headers[i], &seen, ret_text);
    if (status)
        return status;
    if (seen.hosts == 0 && strcmp(version, "1.1") == 0)
        return refuse(400, "Exactly one Host header is needed.", ret_text);
    if (seen.has_encoding && seen.length)
        return refuse(400, "Content-Length and Transfer-Encoding exclude each other.", ret_text);
    if (seen.has_encoding)
        return refuse(411, "A Content-Length header is needed.", ret_text);
    if (!seen.length)
        return 0;
    if (strspn(seen.length, "0123456789") != strlen(seen.length) || !*seen.length)
        return refuse(400, "Malformed Content-Length header.", ret_text);
    if (!text_to_int(seen.length, 0, HTTP_BODY_MAX, ret_length))
        return refuse(413, "The request body is larger than 1 MiB.", ret_text);
    return 0;
}
