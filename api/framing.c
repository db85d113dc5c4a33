/* SPDX-License-Identifier: MIT
 *
 * The rules of framing.h. The corpus of what is refused stands in tests/integration/.
 */
#include "api/framing.h"

#include <string.h>
#include <strings.h>

#include "common/text.h"

/* RFC 9110 section 5.6.2. */
static bool is_token(const char *text)
{
    if (!*text)
        return false;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

        if (!letter && !strchr("!#$%&'*+-.^_`|~", c))
            return false;
    }
    return true;
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
            return true;
    return false;
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

int framing_check(const char *method, const char *uri, const char *version,
                  const struct header *headers, size_t count, int64_t *ret_length,
                  const char **ret_text)
{
    const char *length = NULL;
    int hosts = 0;
    bool has_encoding = false;
    int status = check_line(method, uri, version, ret_text);

    *ret_length = 0;
    if (status)
        return status;
    if (count >= FRAMING_HEADERS_MAX)
        return refuse(431, "Too many headers.", ret_text);
    for (size_t i = 0; i < count; i++) {
        if (!is_token(headers[i].name) || has_control(headers[i].value))
            return refuse(400, "Malformed header.", ret_text);
        if (strcasecmp(headers[i].name, "Transfer-Encoding") == 0)
            has_encoding = true;
        if (strcasecmp(headers[i].name, "Host") == 0 && (++hosts > 1 || !is_host(headers[i].value)))
            return refuse(400, "Exactly one Host header is needed.", ret_text);
        if (strcasecmp(headers[i].name, "Content-Length") == 0) {
            if (length)
                return refuse(400, "More than one Content-Length header.", ret_text);
            length = headers[i].value;
        }
    }
    if (hosts == 0 && strcmp(version, "1.1") == 0)
        return refuse(400, "Exactly one Host header is needed.", ret_text);
    if (has_encoding && length)
        return refuse(400, "Content-Length and Transfer-Encoding exclude each other.", ret_text);
    if (has_encoding)
        return refuse(411, "A Content-Length header is needed.", ret_text);
    if (!length)
        return 0;
    if (strspn(length, "0123456789") != strlen(length) || !*length)
        return refuse(400, "Malformed Content-Length header.", ret_text);
    if (!text_to_int(length, 0, HTTP_BODY_MAX, ret_length))
        return refuse(413, "The request body is larger than 1 MiB.", ret_text);
    return 0;
}
