/* SPDX-License-Identifier: MIT
 *
 * JSON web tokens: no text is a good one that was not signed with our key.
 */
#include "tests/fuzz/target.h"

#include "api/token.h"

#define FUZZ_SECRET "a-key-that-no-fuzzer-will-ever-guess-0123456789"

FUZZ_TARGET(token, text, size)
{
    struct token_claims claims;

    (void)size;
    for (int kind = TOKEN_ACCESS; kind <= TOKEN_REFRESH; kind++)
        MUST(token_read(FUZZ_SECRET, text, (enum token_kind)kind, INT64_C(1700000000000000),
                        &claims) == TOKEN_BAD);
}
