/* SPDX-License-Identifier: MIT
 *
 * Ids: what is read has 36 characters, lower case, and is read as itself.
 */
#include "tests/fuzz/target.h"

#include "common/uuid.h"

FUZZ_TARGET(uuid, text, size)
{
    struct uuid id = {"x"};
    struct uuid again = {"y"};

    (void)size;
    if (!uuid_parse(text, &id)) {
        MUST(strcmp(id.text, "x") == 0);
        return;
    }
    MUST(strlen(id.text) == 36 && !strpbrk(id.text, "ABCDEF"));
    MUST(uuid_parse(id.text, &again));
    MUST(strcmp(id.text, again.text) == 0);
}
