/* SPDX-License-Identifier: MIT
 *
 * Access and refresh tokens: JSON web tokens signed with HS256, the only algorithm there is. Pure:
 * the time is given, nothing is stored; what a refresh token may still do stands in the database
 * (common/sessions.h).
 *
 * While there are two keys, a token names the one that signed it by `kid`, a hash of the key, which
 * only picks one of the two. One that names none, as those do that were made while there was one
 * key, is held against both.
 */
#ifndef API_TOKEN_H
#define API_TOKEN_H

#include <stdint.h>

#include "common/err.h"
#include "common/uuid.h"

enum {
    TOKEN_SECRET_MIN = 32, /* bytes (RFC 7518, section 3.2) */
    TOKEN_SIZE_MAX = 4096,
    TOKEN_SKEW_S = 60,
    TOKEN_ACCESS_S = 15 * 60,
    TOKEN_REFRESH_S = 7 * 24 * 3600,
};

/* Borrowed. New tokens are signed with the present key. */
struct token_keys {
    const char *present;
    const char *previous; /* NULL or "": none */
};

enum token_kind { TOKEN_ACCESS, TOKEN_REFRESH };

struct token_claims {
    int64_t user_id;
    struct uuid jti;
    int64_t expires_us; /* wall time */
};

enum token_verdict {
    TOKEN_GOOD,
    TOKEN_BAD,       /* not ours, malformed, not yet or no longer valid */
    TOKEN_WRONG_KIND /* good, but a refresh token where an access token belongs, or the reverse */
};

/* The text is to be freed with mem_free(). ERR_INVALID: the present key is too short. */
enum err_code token_make(const struct token_keys *keys, enum token_kind kind, int64_t user_id,
                         const struct uuid *jti, int64_t now_us, char **ret_text,
                         struct err *e) MUST_CHECK;

enum token_verdict token_read(const struct token_keys *keys, const char *text, enum token_kind kind,
                              int64_t now_us, struct token_claims *ret_claims);

#endif
