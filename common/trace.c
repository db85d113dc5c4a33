/* SPDX-License-Identifier: MIT
 *
 * Reading and writing traceparent (W3C Trace Context, section 3.2); see trace.h. Holds no state.
 */
#include "common/trace.h"

#include <string.h>

#include "common/auto.h"
#include "common/entropy.h"
#include "common/uuid.h"

#define HEX "0123456789abcdef"

enum { VERSION_AT = 0, ID_AT = 3, SPAN_AT = 36, FLAGS_AT = 53, KNOWN_LEN = TRACE_TEXT_SIZE - 1 };

/* Exactly `len` hex digits from there, then a hyphen or the end of what version 00 has. */
static bool is_hex(const char *text, size_t len) { return strspn(text, HEX) == len; }

static bool is_zero(const char *digits)
{
    while (*digits == '0')
        digits++;
    return !*digits;
}

static unsigned hex_value(const char *two)
{
    return (unsigned)((strchr(HEX, two[0]) - HEX) * 16 + (strchr(HEX, two[1]) - HEX));
}

bool trace_parse(const char *text, struct trace *ret_trace)
{
    struct trace trace = {.id = ""};
    size_t len = strlen(text);
    bool known = strncmp(text, "00", 2) == 0;

    if (len < KNOWN_LEN || strncmp(text, "ff", 2) == 0)
        return false;
    if (len > KNOWN_LEN && (known || text[KNOWN_LEN] != '-'))
        return false;
    if (!is_hex(text + VERSION_AT, 2) || !is_hex(text + ID_AT, 32) || !is_hex(text + SPAN_AT, 16) ||
        !is_hex(text + FLAGS_AT, 2))
        return false;
    if (text[ID_AT - 1] != '-' || text[SPAN_AT - 1] != '-' || text[FLAGS_AT - 1] != '-')
        return false;
    memcpy(trace.id, text + ID_AT, sizeof trace.id - 1);
    memcpy(trace.span, text + SPAN_AT, sizeof trace.span - 1);
    trace.flags = hex_value(text + FLAGS_AT);
    if (is_zero(trace.id) || is_zero(trace.span))
        return false;
    *ret_trace = trace;
    return true;
}

void trace_format(const struct trace *trace, char ret_text[TRACE_TEXT_SIZE])
{
    memcpy(ret_text, "00-", ID_AT);
    memcpy(ret_text + ID_AT, trace->id, sizeof trace->id - 1);
    ret_text[SPAN_AT - 1] = '-';
    memcpy(ret_text + SPAN_AT, trace->span, sizeof trace->span - 1);
    ret_text[FLAGS_AT - 1] = '-';
    ret_text[FLAGS_AT] = HEX[trace->flags >> 4 & 15];
    ret_text[FLAGS_AT + 1] = HEX[trace->flags & 15];
    ret_text[FLAGS_AT + 2] = '\0';
}

/* Random digits, not all of them zero. */
static void random_digits(char *out, size_t bytes)
{
    unsigned char raw[16];

    do {
        entropy_take(raw, bytes);
        for (size_t i = 0; i < bytes; i++) {
            out[2 * i] = HEX[raw[i] >> 4];
            out[2 * i + 1] = HEX[raw[i] & 15];
        }
        out[2 * bytes] = '\0';
    } while (is_zero(out));
}

struct trace trace_child(const struct trace *trace)
{
    struct trace child = *trace;

    random_digits(child.span, 8);
    return child;
}

struct trace trace_begin(const char *uuid)
{
    static const struct {
        size_t at;
        size_t len;
    } parts[] = {{0, 8}, {9, 4}, {14, 4}, {19, 4}, {24, 12}}; /* between the hyphens */
    struct trace trace = {.flags = 1};
    struct uuid id;
    size_t len = 0;

    random_digits(trace.span, 8);
    if (uuid && uuid_parse(uuid, &id))
        for (size_t i = 0; i < COUNT_OF(parts); len += parts[i++].len)
            memcpy(trace.id + len, id.text + parts[i].at, parts[i].len);
    if (is_zero(trace.id))
        random_digits(trace.id, 16);
    return trace;
}
