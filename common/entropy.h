/* SPDX-License-Identifier: MIT
 *
 * Random bytes for ids, of which each request and job needs a few: a thread asks the kernel for
 * many at once, so most calls are none of the system. For keys and secrets use libsodium itself.
 */
#ifndef COMMON_ENTROPY_H
#define COMMON_ENTROPY_H

#include <stddef.h>

/* At most ENTROPY_MAX bytes. No byte is given out twice, not by a process and its child either. */
enum { ENTROPY_MAX = 64 };
void entropy_take(void *out, size_t len);

#endif
