/* SPDX-License-Identifier: MIT
 *
 * A growing byte buffer with a ceiling. What would pass the ceiling is dropped and `overflow` stays
 * set, so that many adds need one check at the end. `data` is always NUL-terminated.
 *
 *   AUTO_VALUE(buf_release) struct buf b;
 *   buf_init(&b, 64 * 1024);
 *   buf_addf(&b, "%d items", n);
 *   if (b.overflow) ...
 */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
    char *data;  /* owned; NUL-terminated; never NULL after buf_init() */
    size_t len;  /* bytes, without the NUL */
    size_t size; /* bytes allocated */
    size_t max;  /* ceiling of len */
    bool overflow;
    bool is_lent; /* data is what buf_init_in() was given: it is not freed */
};

void buf_init(struct buf *b, size_t max);
/* The same in the caller's memory, which must outlive it, for as long as what is added fits there.
 * `size` is more than 0. */
void buf_init_in(struct buf *b, char *space, size_t size, size_t max);
void buf_release(struct buf *b);
void buf_clear(struct buf *b);
/* Makes room for so many more bytes at once, where many adds would grow it again and again. */
void buf_reserve(struct buf *b, size_t extra);

/* So many more bytes, for the caller to write all of them; NULL when they would pass the ceiling.
 */
char *buf_extend(struct buf *b, size_t len);

/* buf_add() where there is no room, or much to add. */
void buf_add_slowly(struct buf *b, const void *data, size_t len);
enum { BUF_ADD_QUICKLY = 16 * 1024 };
static inline void buf_add(struct buf *b, const void *data, size_t len)
{
    if (len > BUF_ADD_QUICKLY || b->overflow || len > b->max - b->len || len >= b->size - b->len) {
        buf_add_slowly(b, data, len);
        return;
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}
static inline void buf_add_str(struct buf *b, const char *s) { buf_add(b, s, strlen(s)); }
void buf_add_char(struct buf *b, char c);
void buf_add_int(struct buf *b, int64_t number);
void buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds `s` as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD, controls (C0,
 * DEL, C1), line separators and marks of direction are escaped. */
void buf_add_json(struct buf *b, const char *s);

/* Adds text from outside as well-formed UTF-8: other bytes become U+FFFD, control characters (C0,
 * DEL, C1) blanks. */
void buf_add_text(struct buf *b, const char *s);

/* Gives the text to the caller, who frees it with mem_free(); the buffer is empty and usable. */
char *buf_take(struct buf *b);

/* snprintf() into a fixed array that says whether all of it fitted. */
bool text_format(char *out, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4), warn_unused_result));

#endif
