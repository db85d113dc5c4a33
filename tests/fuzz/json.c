/* SPDX-License-Identifier: MIT
 *
 * JSON: what is read can be written and read as the same value; errors repeat nothing.
 */
#include "tests/fuzz/target.h"

#include "common/json.h"
#include "common/mem.h"

FUZZ_TARGET(json, text, size)
{
    AUTO(json_decref) json_t *value = NULL;
    AUTO(json_decref) json_t *again = NULL;
    AUTO(mem_free) char *written = NULL;
    struct err e = {0};

    if (json_read(text, size, 64 * 1024, &value, &e)) {
        MUST(!value && *e.text && !strstr(e.text, " near '"));
        return;
    }
    written = json_write(value);
    MUST(written);
    MUST(json_read(written, strlen(written), 16 * 64 * 1024, &again, NULL) == ERR_OK);
    MUST(json_equal(value, again));
}
