/* SPDX-License-Identifier: MIT
 *
 * How many requests a client may make: a bucket for each address and each user, refilled all the
 * time. It stands in the memory of this process, since asking another server would cost more than
 * most requests. Guesses at passwords are counted for all processes together (queue_throttle.h).
 */
#ifndef API_LIMITS_H
#define API_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request;

enum { LIMITS_NAME_SIZE = 64 };

/* The client's address as limits know it: X-Forwarded-For's last when a proxy of this machine
 * passes it on, an IPv6 one cut to its /64; "" for a client of this machine itself, who is not
 * limited. */
void limits_address(const struct request *req, char ret_name[LIMITS_NAME_SIZE]);
/* The same of its parts; `forwarded` may be NULL. Pure. */
void limits_name(const char *remote, const char *forwarded, char ret_name[LIMITS_NAME_SIZE]);

/* Takes `cost` from the bucket of `kind` and `name`, which holds `per_minute` when it is full. 0,
 * or the seconds after which there will be enough. A limit of 0 is none. */
int64_t limits_take(char kind, const char *name, int64_t per_minute, int64_t cost, int64_t now_us);

#endif
