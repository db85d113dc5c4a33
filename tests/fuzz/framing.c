/* SPDX-License-Identifier: MIT
 *
 * Framing: any method, target, version and headers, a line each. What is let through has one length
 * that all its Content-Lengths name, no Transfer-Encoding, one Host, one key, and no control
 * character.
 */
#include "tests/fuzz/target.h"

#include <strings.h>

#include "api/framing.h"
#include "common/auto.h"
#include "common/mem.h"

enum { LINES_MAX = 3 + FRAMING_HEADERS_MAX };

/* The lines of `text`, which is written over. */
static size_t split_lines(char *text, char *lines[LINES_MAX])
{
    size_t count = 0;

    while (count < LINES_MAX) {
        char *end = strchr(text, '\n');

        lines[count++] = text;
        if (!end)
            break;
        *end = '\0';
        text = end + 1;
    }
    return count;
}

static void check_accepted(const char *uri, const struct header *headers, size_t count,
                           int64_t length)
{
    size_t hosts = 0;
    size_t keys = 0;

    MUST(length >= 0 && length <= HTTP_BODY_MAX);
    for (; *uri; uri++)
        MUST((unsigned char)*uri > 0x20 && *uri != 0x7f);
    for (size_t i = 0; i < count; i++) {
        MUST(strcasecmp(headers[i].name, "Transfer-Encoding") != 0);
        MUST(*headers[i].name && !strpbrk(headers[i].name, " \t\r:"));
        MUST(!strpbrk(headers[i].value, "\r\n"));
        hosts += strcasecmp(headers[i].name, "Host") == 0;
        keys += strcasecmp(headers[i].name, "Idempotency-Key") == 0;
        if (strcasecmp(headers[i].name, "Content-Length") == 0)
            MUST(strtoll(headers[i].value, NULL, 10) == length);
    }
    MUST(hosts <= 1 && keys <= 1);
}

FUZZ_TARGET(framing, text, size)
{
    AUTO(mem_free) char *copy = mem_dup(text);
    char *lines[LINES_MAX];
    size_t count = split_lines(copy, lines);
    struct header headers[FRAMING_HEADERS_MAX];
    size_t headers_count = 0;
    int64_t length = -1;
    const char *why = NULL;
    int status;

    (void)size;
    if (count < 3)
        return;
    for (size_t i = 3; i < count; i++) {
        char *colon = strchr(lines[i], ':');

        if (colon)
            *colon = '\0';
        headers[headers_count++] =
            (struct header){.name = lines[i], .value = colon ? colon + 1 : ""};
    }
    status = framing_check(lines[0], lines[1], lines[2], headers, headers_count, &length, &why);
    MUST((status != 0) == (why != NULL));
    MUST(status == 0 || (status >= 400 && status < 600));
    if (status == 0)
        check_accepted(lines[1], headers, headers_count, length);
}
