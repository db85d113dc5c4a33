/* SPDX-License-Identifier: MIT
 *
 * Small decisions about text from outside: numbers, names, control characters.
 */
#ifndef COMMON_TEXT_H
#define COMMON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The whole text is a decimal integer within [min, max]; no sign but '-', no blanks. */
bool text_to_int(const char *text, int64_t min, int64_t max, int64_t *ret_value);

/* The whole text is a number of seconds, "90" or "2.5" with up to three digits behind the point,
 * within a millisecond and `max_ms`. */
bool text_to_ms(const char *text, int64_t max_ms, int64_t *ret_ms);

/* Eight bytes at a time: a word of eight times `n`, below 256, and the top bit of each byte that is
 * a control character or no ASCII. */
#define EACH_BYTE(n) (UINT64_C(0x0101010101010101) * (n))
static inline uint64_t text_odd_bytes(uint64_t word)
{
    return ((word - EACH_BYTE(0x20)) | ((word ^ EACH_BYTE(0x7f)) - EACH_BYTE(1)) | word) &
           EACH_BYTE(0x80);
}

/* How many bytes from the start are no control characters (0x00 to 0x1f, 0x7f). */
size_t text_plain_span(const char *text, size_t len);

/* Leaves out the blanks around these bytes: those of Unicode that Python's strip() takes off. */
void text_trim(const char **text, size_t *len);

bool text_starts(const char *text, const char *prefix);

/* Whether an editor has put a byte order mark there, which nobody sees. */
bool text_has_mark(const char *text, size_t len);

/* Whether the text is well-formed UTF-8 without NUL (by its length) and fits `max` characters. */
bool text_is_utf8(const char *text, size_t len);
size_t text_count_chars(const char *text);

/* How many bytes from the start, at most `max`, end with a whole character of UTF-8. */
size_t text_whole_span(const char *text, size_t max);

/* 13 to 19 digits, single spaces or hyphens between them allowed, that pass the Luhn check (ISO/IEC
 * 7812-1) and begin as card numbers do: what must never reach our logs, tables, streams or mail. */
bool text_has_card_number(const char *text, size_t len);

/* What Till accepts as the name of a task or a queue: letters, digits, '_', '.', '-', at most 200.
 */
bool text_is_name(const char *text);

/* An address as Django takes one: the dot-atom form of RFC 5322, and a domain with a dot in it
 * whose last part has two characters at least, or localhost. */
bool text_is_email(const char *text);

/* Undoes the %XX of a part of a URL (RFC 3986, 2.1), in place. What is no such escape stays as it
 * is, and so does %00, which no C text can hold. */
void text_percent_decode(char *text);

/* The text, as far as it fits with its NUL. */
void text_copy(char *out, size_t size, const char *text);

#endif
