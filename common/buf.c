/* SPDX-License-Identifier: MIT
 *
 * Bounded buffers; see buf.h. Grows by doubling from 512 bytes to its ceiling.
 */
#include "common/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/text.h"

enum { BUF_FIRST_SIZE = 512 };

/* The text of every buffer that nothing was added to yet; never written. */
static char nothing[1];

void buf_init(struct buf *b, size_t max) { *b = (struct buf){.data = nothing, .max = max}; }

void buf_init_in(struct buf *b, char *space, size_t size, size_t max)
{
    *space = '\0';
    *b = (struct buf){.data = space, .size = size, .max = max, .is_lent = true};
}

void buf_release(struct buf *b)
{
    if (b->size > 0 && !b->is_lent)
        mem_free(b->data);
    *b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->overflow = false;
    if (b->size > 0)
        b->data[0] = '\0';
}

static void grow(struct buf *b, size_t wanted)
{
    bool is_first = b->size == 0 || b->is_lent;
    size_t size = b->size == 0 ? BUF_FIRST_SIZE : b->size;
    const char *before = b->data;

    while (size < wanted)
        size *= 2;
    b->data = mem_resize(is_first ? NULL : b->data, size);
    b->size = size;
    b->is_lent = false;
    if (is_first)
        memcpy(b->data, before, b->len + 1);
}

/* Makes room for `extra` more bytes; false, and sticky, when the ceiling forbids it. */
static bool reserve(struct buf *b, size_t extra)
{
    if (b->overflow || extra > b->max || b->len > b->max - extra) {
        b->overflow = true;
        return false;
    }
    if (b->len + extra + 1 > b->size)
        grow(b, b->len + extra + 1);
    return true;
}

void buf_reserve(struct buf *b, size_t extra)
{
    if (extra <= b->max && b->len <= b->max - extra)
        (void)reserve(b, extra);
}

char *buf_extend(struct buf *b, size_t len)
{
    char *at;

    if (!reserve(b, len))
        return NULL;
    at = b->data + b->len;
    b->len += len;
    at[len] = '\0';
    return at;
}

void buf_add_slowly(struct buf *b, const void *data, size_t len)
{
    char *at = buf_extend(b, len);

    if (at)
        memcpy(at, data, len);
}

void buf_add_char(struct buf *b, char c)
{
    char *at = buf_extend(b, 1);

    if (at)
        *at = c;
}

void buf_add_int(struct buf *b, int64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;

    for (; rest > UINT32_MAX; rest /= 10)
        digits[--at] = (char)('0' + rest % 10);
    for (uint32_t small = (uint32_t)rest; small || at == sizeof digits; small /= 10)
        digits[--at] = (char)('0' + small % 10);
    if (number < 0)
        digits[--at] = '-';
    buf_add(b, digits + at, sizeof digits - at);
}

/* Most of what is added fits, so the first try is made in place. */
void buf_addf(struct buf *b, const char *format, ...)
{
    size_t room;
    va_list args;
    int len;

    if (!reserve(b, 0))
        return;
    room = b->size - b->len;
    va_start(args, format);
    len = vsnprintf(b->data + b->len, room, format, args);
    va_end(args);
    if (len < 0 || !reserve(b, (size_t)len)) {
        b->data[b->len] = '\0';
        b->overflow = true;
        return;
    }
    if ((size_t)len < room) {
        b->len += (size_t)len;
        return;
    }
    va_start(args, format);
    (void)vsnprintf(b->data + b->len, (size_t)len + 1, format, args);
    va_end(args);
    b->len += (size_t)len;
}

/* Length of the well-formed UTF-8 sequence at s (Unicode 15, table 3-7), or 0. */
static size_t utf8_length(const unsigned char *s)
{
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t tail;

    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        tail = 1;
    else if ((s[0] & 0xf0) == 0xe0)
        tail = 2;
    else if (s[0] >= 0xf0 && s[0] <= 0xf4)
        tail = 3;
    else
        return 0;
    if (s[0] == 0xe0)
        low = 0xa0; /* shorter forms exist */
    if (s[0] == 0xed)
        high = 0x9f; /* surrogates */
    if (s[0] == 0xf0)
        low = 0x90;
    if (s[0] == 0xf4)
        high = 0x8f;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i <= tail; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return tail + 1;
}

/* What does not stand for itself: quotes, backslashes and controls. */
static void add_json_char(struct buf *b, unsigned char c)
{
    switch (c) {
    case '"':
        buf_add_str(b, "\\\"");
        break;
    case '\\':
        buf_add_str(b, "\\\\");
        break;
    case '\n':
        buf_add_str(b, "\\n");
        break;
    case '\r':
        buf_add_str(b, "\\r");
        break;
    case '\t':
        buf_add_str(b, "\\t");
        break;
    default:
        buf_addf(b, "\\u%04x", c);
    }
}

/* U+0080 to U+009F, of which some start escape sequences in terminals, the two separators that end
 * a line for some readers of logs and of JavaScript, and the marks that turn the direction of what
 * follows. Returns 0 for all others. */
static unsigned hidden_control(const unsigned char *s, size_t len)
{
    unsigned code;

    if (len == 2 && s[0] == 0xc2 && s[1] < 0xa0)
        return s[1];
    if (len != 3 || s[0] != 0xe2)
        return 0;
    code = 0x2000u | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
    if (code == 0x200e || code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
        (code >= 0x2066 && code <= 0x2069))
        return code;
    return 0;
}

enum { WORD = 8 };

/* Whether eight bytes all stand for themselves in JSON and are ASCII; see plain_span(). */
static bool is_plain_word(const unsigned char *s)
{
    uint64_t word;
    uint64_t other;

    memcpy(&word, s, sizeof word);
    other = (word ^ EACH_BYTE('"')) - EACH_BYTE(1); /* sets the top bit of a byte that is one */
    other |= (word ^ EACH_BYTE('\\')) - EACH_BYTE(1);
    return !((text_odd_bytes(word) | other) & EACH_BYTE(0x80));
}

/* How many bytes from there stand for themselves in JSON, but for those that are no ASCII. */
static size_t plain_span(const unsigned char *s, const unsigned char *end)
{
    const unsigned char *p = s;

    while (end - p >= WORD && is_plain_word(p))
        p += WORD;
    if (end - p < WORD && end - s >= WORD && is_plain_word(end - WORD))
        return (size_t)(end - s);
    while (*p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\')
        p++;
    return (size_t)(p - s);
}

/* One piece of a JSON string, of which the length is returned. */
static size_t add_json_piece(struct buf *b, const unsigned char *p, const unsigned char *end)
{
    size_t len = plain_span(p, end);
    unsigned control;

    if (len > 0) {
        buf_add(b, p, len);
        return len;
    }
    len = utf8_length(p);
    control = hidden_control(p, len);
    if (len == 1)
        add_json_char(b, *p);
    else if (control)
        buf_addf(b, "\\u%04x", control);
    else if (len > 1)
        buf_add(b, p, len);
    else
        buf_add_str(b, "\\ufffd");
    return len ? len : 1;
}

void buf_add_json(struct buf *b, const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t len = strlen(s);
    const unsigned char *end = p + len;

    if (plain_span(p, end) == len) { /* as most of it is */
        char *at = buf_extend(b, len + 2);

        if (at) {
            at[0] = '"';
            memcpy(at + 1, s, len + 1);
            at[len + 1] = '"';
        }
        return;
    }
    buf_add_char(b, '"');
    while (*p)
        p += add_json_piece(b, p, end);
    buf_add_char(b, '"');
}

void buf_add_text(struct buf *b, const char *s)
{
    const unsigned char *p = (const unsigned char *)s;

    while (*p) {
        size_t len = utf8_length(p);

        if (len == 0)
            buf_add_str(b, "\xef\xbf\xbd");
        else if ((len == 1 && (*p < 0x20 || *p == 0x7f)) || (*p == 0xc2 && p[1] < 0xa0))
            buf_add_char(b, ' ');
        else
            buf_add(b, p, len);
        p += len ? len : 1;
    }
}

char *buf_take(struct buf *b)
{
    char *text = b->size > 0 && !b->is_lent ? b->data : mem_dup_n(b->data, b->len);

    buf_init(b, b->max);
    return text;
}

bool text_format(char *out, size_t size, const char *format, ...)
{
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(out, size, format, args);
    va_end(args);
    return len >= 0 && (size_t)len < size;
}
