/* SPDX-License-Identifier: MIT
 *
 * A file of lines for a verb that takes many of something: read whole before anything is done, so
 * that a bad line, or a pipe that is slow, meets no open transaction.
 */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include <stddef.h>

#include "common/err.h"

enum { LINES_MAX = 1000000 };

struct lines {
    char **items; /* owned, without their line ends */
    size_t count;
    size_t size;
};

/* `path` is "-" for standard input. ERR_INVALID for more than LINES_MAX lines and for a NUL byte;
 * what the lines say is the caller's matter. */
enum err_code lines_read(const char *path, struct lines *ret_lines, struct err *e) MUST_CHECK;
void lines_release(struct lines *lines);

#endif
