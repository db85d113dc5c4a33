/* SPDX-License-Identifier: MIT
 *
 * Access tokens that were found good, remembered until they expire, so that a client's next request
 * costs no second verification. What is remembered is the token byte for byte with its claims; who
 * it belongs to and whether they may still come is looked up at every request all the same.
 *
 * May be called from any thread. The keys of a process never change.
 */
#ifndef API_TOKENS_H
#define API_TOKENS_H

#include <stddef.h>
#include <stdint.h>

#include "api/token.h"

/* token_read() of an access token of `len` bytes. */
enum token_verdict tokens_read(const struct token_keys *keys, const char *text, size_t len,
                               int64_t now_us, struct token_claims *ret_claims);

#endif
