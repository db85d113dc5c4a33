/* SPDX-License-Identifier: MIT
 *
 * JSON web tokens: no text is a good one that was not signed with one of our keys.
 */
#include "tests/fuzz/target.h"

#include "api/token.h"

#define FUZZ_SECRET "a-key-that-no-fuzzer-will-ever-guess-0123456789"
#define FUZZ_PREVIOUS "one-before-it-that-no-fuzzer-will-guess-either"

FUZZ_TARGET(token, text, size)
{
    const struct token_keys keys = {FUZZ_SECRET, FUZZ_PREVIOUS};
    struct token_claims claims;

    (void)size;
    for (int kind = TOKEN_ACCESS; kind <= TOKEN_REFRESH; kind++)
        MUST(token_read(&keys, text, (enum token_kind)kind, INT64_C(1700000000000000), &claims) ==
             TOKEN_BAD);
}
