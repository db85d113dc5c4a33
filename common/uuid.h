/* SPDX-License-Identifier: MIT
 *
 * UUIDs as text (RFC 9562): version 7 for ids that sort by time, version 4 for keys that nobody may
 * guess. Random bits come from libsodium.
 */
#ifndef COMMON_UUID_H
#define COMMON_UUID_H

#include <stdbool.h>
#include <stdint.h>

struct uuid {
    char text[37]; /* lower case, with hyphens */
};

/* Those of one thread sort in the order in which they were made. */
struct uuid uuid_v7(void);
struct uuid uuid_v4(void);

/* Accepts upper and lower case, with hyphens in their places only; gives lower case. */
bool uuid_parse(const char *text, struct uuid *ret_id);

/* A version 7 UUID of the given time (ms since 1970) whose other bits are a hash of the bytes: the
 * same time and bytes give the same id. For what comes without an id of its own. */
struct uuid uuid_from_bytes(int64_t ms, const void *data, uint64_t len);

/* The 16 bytes that a well-formed id stands for. */
void uuid_bytes(const struct uuid *id, unsigned char ret_bytes[16]);

#define UUID_FIRST "00000000-0000-0000-0000-000000000000"
#define UUID_LAST "ffffffff-ffff-ffff-ffff-ffffffffffff"

/* The smallest id of a time (ms since 1970); that of all times for what comes before. */
struct uuid uuid_least_of(int64_t ms);

/* The smallest and the largest id that begin with this text; false when it is not at least the
 * first eight characters of an id. */
bool uuid_range(const char *text, struct uuid *ret_from, struct uuid *ret_to);

#endif
