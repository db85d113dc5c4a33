/* SPDX-License-Identifier: MIT
 *
 * Guesses at passwords, counted in Redis for all API processes together: a few at once for an
 * account, then one at a time with a wait that doubles; and so many failures a minute for an
 * address. Names are hashed: no e-mail address stands in a key.
 */
#ifndef COMMON_QUEUE_THROTTLE_H
#define COMMON_QUEUE_THROTTLE_H

#include <stdint.h>

#include "common/err.h"
#include "common/redis.h"

enum {
    THROTTLE_FREE = 5,            /* wrong guesses at an account before anybody waits */
    THROTTLE_FORGET_S = 15 * 60,  /* without another for so long, they are forgotten */
    THROTTLE_WAIT_MAX_S = 5 * 60, /* the longest wait between two guesses */
    THROTTLE_ADDRESS_FREE = 20,   /* wrong guesses from one address in a minute */
};

/* How long to wait for the next guess after so many wrong ones: 0 while they are free. Pure. */
int64_t throttle_wait_s(int64_t wrong);

/* Before a guess. *ret_wait_s > 0: it must not be made for so many seconds. `address` "": none is
 * counted. */
enum err_code throttle_begin(struct redis *redis, const char *account, const char *address,
                             int64_t *ret_wait_s, struct err *e) MUST_CHECK;

/* It was right: the account's wrong guesses are forgotten. */
enum err_code throttle_succeeded(struct redis *redis, const char *account,
                                 struct err *e) MUST_CHECK;
enum err_code throttle_failed(struct redis *redis, const char *account, const char *address,
                              struct err *e) MUST_CHECK;

#endif
