/* SPDX-License-Identifier: MIT
 *
 * Redaction: no card number is left, whatever stands around it.
 */
#include "tests/fuzz/target.h"

#include "common/mem.h"
#include "common/redact.h"
#include "common/text.h"

FUZZ_TARGET(redact, text, size)
{
    AUTO(mem_free) char *shown = redact_text(text);

    (void)size;
    MUST(!text_has_card_number(shown, strlen(shown)));
}
