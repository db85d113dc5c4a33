/* SPDX-License-Identifier: MIT
 *
 * Standard output without control characters; see shown.h. Owns the stream that it puts in the
 * place of stdout, for as long as the program runs.
 */
#include "cli/shown.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

enum { C1_LEAD = 0xc2, C1_FIRST = 0x80, C1_LAST = 0x9f };

/* The first byte of two came last: what it means comes with the next ones. */
static bool is_held;

static bool write_all(const char *data, size_t len)
{
    while (len > 0) {
        ssize_t written = write(STDOUT_FILENO, data, len);

        if (written < 0)
            return false;
        data += written;
        len -= (size_t)written;
    }
    return true;
}

static bool write_escaped(unsigned code)
{
    char text[8];
    int len = snprintf(text, sizeof text, "\\u%04x", code);

    return write_all(text, (size_t)len);
}

static bool is_control(unsigned char byte)
{
    return (byte < ' ' && byte != '\n' && byte != '\t') || byte == 0x7f;
}

/* How many bytes from there mean themselves. */
static size_t plain_length(const unsigned char *p, size_t len)
{
    size_t at = 0;

    while (at < len && !is_control(p[at]) && p[at] != C1_LEAD)
        at++;
    return at;
}

/* Writes the byte that follows a held one, with it when the two are no control character; gives how
 * many bytes that was. */
static size_t end_held(const unsigned char *p, bool *ok)
{
    static const char lead[] = {(char)C1_LEAD};
    bool is_c1 = *p >= C1_FIRST && *p <= C1_LAST;

    is_held = false;
    *ok = is_c1 ? write_escaped(*p) : write_all(lead, 1);
    return is_c1;
}

static ssize_t write_shown(void *cookie, const char *data, size_t len)
{
    const unsigned char *p = (const unsigned char *)data;
    bool ok = true;

    (void)cookie;
    for (size_t at = 0; at < len && ok;) {
        size_t plain;

        if (is_held) {
            at += end_held(p + at, &ok);
            continue;
        }
        plain = plain_length(p + at, len - at);
        if (plain > 0) {
            ok = write_all(data + at, plain);
            at += plain;
        } else if (p[at] == C1_LEAD) {
            is_held = true;
            at++;
        } else {
            ok = write_escaped(p[at++]);
        }
    }
    return ok ? (ssize_t)len : 0; /* 0: it could not */
}

void shown_begin(void)
{
    FILE *out = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_shown});

    if (!out)
        return; /* out of memory: it will be told soon */
    if (isatty(STDOUT_FILENO))
        (void)setvbuf(out, NULL, _IOLBF, BUFSIZ);
    stdout = out;
}
