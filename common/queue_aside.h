/* SPDX-License-Identifier: MIT
 *
 * A key of ours that holds a value of another type, which some other program or a hand has put
 * there. Whoever names it is refused, and a worker names all its streams in one command, so one
 * such key would keep every queue from being read.
 */
#ifndef COMMON_QUEUE_ASIDE_H
#define COMMON_QUEUE_ASIDE_H

#include "common/err.h"
#include "common/redis.h"

/* Renames the key when it is not of this type ("stream", "hash"), so that its name is free and its
 * value kept; tells that by ERR_UNAVAILABLE, and the caller tries again. ERR_OK: nothing to do. */
enum err_code queue_put_aside(struct redis *redis, const char *key, const char *type,
                              struct err *e) MUST_CHECK;

#endif
