/* SPDX-License-Identifier: MIT
 *
 * The header of the gateway's webhooks: no text is a good signature of another body.
 */
#include "tests/fuzz/target.h"

#include "api/signature.h"

FUZZ_TARGET(signature, header, size)
{
    enum signature_verdict verdict = signature_check(header, "whsec_that_no_fuzzer_will_guess",
                                                     header, size, INT64_C(1700000000000000));

    MUST(verdict == SIGNATURE_MALFORMED || verdict == SIGNATURE_WRONG);
}
