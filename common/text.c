/* SPDX-License-Identifier: MIT
 *
 * Pure checks of text; see text.h.
 */
#include "common/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/auto.h"

bool text_to_int(const char *text, int64_t min, int64_t max, int64_t *ret_value)
{
    const char *digits = text + (*text == '-');
    char *end;
    long long value;

    if (*digits < '0' || *digits > '9')
        return false;
    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno || *end || value < min || value > max)
        return false;
    *ret_value = value;
    return true;
}

bool text_to_ms(const char *text, int64_t max_ms, int64_t *ret_ms)
{
    const char *point = strchr(text, '.');
    size_t whole = point ? (size_t)(point - text) : strlen(text);
    size_t digits = point ? strlen(point + 1) : 0;
    char joined[16];

    if (whole < 1 || whole > 8 || digits > 3 || (point && digits == 0) ||
        strspn(text, "0123456789") != whole)
        return false;
    (void)snprintf(joined, sizeof joined, "%.*s%s%.*s", (int)whole, text, point ? point + 1 : "",
                   (int)(3 - digits), "000");
    return text_to_int(joined, 1, max_ms, ret_ms);
}

/* What may be odd has to be looked at: a byte above 0x7f is, and is no control. */
static uint64_t doubts(const char *text)
{
    uint64_t word;

    memcpy(&word, text, sizeof word);
    return text_odd_bytes(word);
}

size_t text_plain_span(const char *text, size_t len)
{
    enum { WORD = sizeof(uint64_t), WORDS = 4 * WORD };
    size_t at = 0;

    while (len - at >= WORDS && !(doubts(text + at) | doubts(text + at + WORD) |
                                  doubts(text + at + 2 * WORD) | doubts(text + at + 3 * WORD)))
        at += WORDS;
    while (len - at >= WORD && !doubts(text + at))
        at += WORD;
    if (len >= WORD && len - at < WORD && !doubts(text + len - WORD))
        return len;
    while (at < len && (unsigned char)text[at] >= 0x20 && text[at] != 0x7f)
        at++;
    return at;
}

/* Whether the whole of these bytes is one blank. */
static bool is_blank(const char *bytes, size_t len)
{
    static const char *const wide[] = {"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80",
                                       "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf",
                                       "\xe2\x81\x9f", "\xe3\x80\x80"};
    unsigned char c = (unsigned char)bytes[len - 1];

    if (len == 1)
        return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
    for (size_t i = 0; i < COUNT_OF(wide); i++)
        if (strlen(wide[i]) == len && memcmp(bytes, wide[i], len) == 0)
            return true;
    return len == 3 && memcmp(bytes, "\xe2\x80", 2) == 0 && c >= 0x80 && c <= 0x8a;
}

/* How long the blank is that a text begins or ends with; 0: it does with none. */
static size_t blank_at(const char *text, size_t len, bool at_end)
{
    for (size_t n = 1; n <= 3 && n <= len; n++)
        if (is_blank(at_end ? text + len - n : text, n))
            return n;
    return 0;
}

void text_trim(const char **text, size_t *len)
{
    size_t blank;

    while ((blank = blank_at(*text, *len, true)) > 0)
        *len -= blank;
    while ((blank = blank_at(*text, *len, false)) > 0) {
        *text += blank;
        *len -= blank;
    }
}

bool text_starts(const char *text, const char *prefix)
{
    while (*prefix && *text == *prefix) {
        text++;
        prefix++;
    }
    return !*prefix;
}

bool text_has_mark(const char *text, size_t len)
{
    return len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
}

bool text_is_utf8(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t i = 0;

    while (i < len) {
        size_t tail = p[i] < 0x80 ? 0 : (p[i] & 0xe0) == 0xc0 ? 1 : (p[i] & 0xf0) == 0xe0 ? 2 : 3;
        unsigned value = p[i];

        if (p[i] == 0 || (p[i] & 0xc0) == 0x80 || p[i] > 0xf4 || tail >= len - i)
            return false;
        value &= tail == 0 ? 0x7fu : tail == 1 ? 0x1fu : tail == 2 ? 0x0fu : 0x07u;
        for (size_t k = 1; k <= tail; k++) {
            if ((p[i + k] & 0xc0) != 0x80)
                return false;
            value = value << 6 | (p[i + k] & 0x3fu);
        }
        if ((tail == 1 && value < 0x80) || (tail == 2 && value < 0x800) ||
            (tail == 3 && (value < 0x10000 || value > 0x10ffff)) ||
            (value >= 0xd800 && value <= 0xdfff))
            return false;
        i += tail + 1;
    }
    return true;
}

size_t text_count_chars(const char *text)
{
    size_t count = 0;

    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

size_t text_whole_span(const char *text, size_t max)
{
    size_t len = strnlen(text, max + 1);

    if (len <= max)
        return len;
    for (len = max; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80;)
        len--;
    return len;
}

static bool luhn_holds(const char *digits, size_t count)
{
    unsigned sum = 0;

    for (size_t i = 0; i < count; i++) {
        unsigned d = (unsigned)(digits[count - 1 - i] - '0');

        if (i % 2 == 1)
            d = d > 4 ? d * 2 - 9 : d * 2;
        sum += d;
    }
    return sum % 10 == 0;
}

/* The first digits that card networks issue; other 13..19 digit numbers (ids, times) pass. */
static bool is_issued_prefix(const char *digits, size_t count)
{
    switch (digits[0]) {
    case '2': /* Mastercard 2221-2720 */
        return count == 16 && digits[1] >= '2' && digits[1] <= '7';
    case '3': /* American Express, Diners, JCB */
        return digits[1] == '0' || (digits[1] >= '4' && digits[1] <= '9');
    case '4': /* Visa */
    case '5': /* Mastercard, Maestro */
    case '6': /* Discover, Maestro, UnionPay */
        return true;
    default:
        return false;
    }
}

enum { CARD_DIGITS_MIN = 13 };

bool text_has_card_number(const char *text, size_t len)
{
    for (size_t start = 0; start + CARD_DIGITS_MIN <= len; start++) {
        char digits[19];
        size_t count = 0;

        if (text[start] < '0' || text[start] > '9' ||
            (start > 0 && text[start - 1] >= '0' && text[start - 1] <= '9'))
            continue;
        for (size_t i = start; i < len && count < sizeof digits; i++) {
            if (text[i] >= '0' && text[i] <= '9')
                digits[count++] = text[i];
            else if ((text[i] != ' ' && text[i] != '-') || i + 1 >= len || text[i + 1] < '0' ||
                     text[i + 1] > '9')
                break;
            /* A number may be glued to further groups: every length that ends a group counts. */
            if (count >= CARD_DIGITS_MIN &&
                (i + 1 == len || text[i + 1] < '0' || text[i + 1] > '9') &&
                is_issued_prefix(digits, count) && luhn_holds(digits, count))
                return true;
        }
    }
    return false;
}

bool text_is_name(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > 200)
        return false;
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == len;
}

/* The value of two hexadecimal digits; 0 when they are none. */
static char read_escape(const char *text)
{
    static const char digits[] = "00112233445566778899aAbBcCdDeEfF";
    const char *high = *text ? strchr(digits, text[0]) : NULL;
    const char *low = high && text[1] ? strchr(digits, text[1]) : NULL;

    return low ? (char)((high - digits) / 2 * 16 + (low - digits) / 2) : '\0';
}

void text_percent_decode(char *text)
{
    char *out = text;

    for (; *text; text++) {
        char value = *text == '%' ? read_escape(text + 1) : '\0';

        *out++ = value ? value : *text;
        if (value)
            text += 2;
    }
    *out = '\0';
}

void text_copy(char *out, size_t size, const char *text)
{
    size_t len = strnlen(text, size - 1);

    memcpy(out, text, len);
    out[len] = '\0';
}

/* One part of a dot-separated name: letters, digits and `others`, not empty. */
static bool is_part(const char *text, size_t len, const char *others)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

        if (!plain && !strchr(others, c))
            return false;
    }
    return len > 0;
}

static bool is_dotted(const char *text, size_t len, const char *others, size_t part_max,
                      int *ret_parts)
{
    *ret_parts = 0;
    for (size_t from = 0; from <= len;) {
        const char *dot = memchr(text + from, '.', len - from);
        size_t part = dot ? (size_t)(dot - text) - from : len - from;

        if (part > part_max || !is_part(text + from, part, others))
            return false;
        (*ret_parts)++;
        from += part + 1;
    }
    return true;
}

static bool has_hyphen_at_edge(const char *domain)
{
    return *domain == '-' || domain[strlen(domain) - 1] == '-' || strstr(domain, "-.") ||
           strstr(domain, ".-");
}

bool text_is_email(const char *text)
{
    const char *at = strrchr(text, '@');
    const char *dot = strrchr(text, '.');
    int parts;

    if (!at || at - text > 64 || !at[1] ||
        !is_dotted(text, (size_t)(at - text), "!#$%&'*+/=?^_`{}|~-", 64, &parts))
        return false;
    return is_dotted(at + 1, strlen(at + 1), "-", 63, &parts) && !has_hyphen_at_edge(at + 1) &&
           (parts >= 2 ? strlen(dot + 1) >= 2 : strcmp(at + 1, "localhost") == 0);
}
