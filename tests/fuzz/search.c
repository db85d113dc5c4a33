/* SPDX-License-Identifier: MIT
 *
 * What people type to find jobs: it is refused with a reason, or becomes four arrays of so many
 * elements as there are terms, within the limits.
 */
#include "tests/fuzz/target.h"

#include "common/job_search.h"

FUZZ_TARGET(search, text, size)
{
    struct job_search search;
    struct err e = {0};
    enum err_code rc = job_search_parse(text, &search, &e);

    MUST(rc == e.code && (rc == ERR_OK || rc == ERR_INVALID));
    MUST(rc == ERR_OK || *e.text);
    if (rc == ERR_OK) {
        MUST(size <= JOB_SEARCH_BYTES);
        MUST(search.count <= (size_t)JOB_SEARCH_TERMS * JOB_SEARCH_GROUPS);
        MUST(!search.groups.overflow && !search.kinds.overflow);
        MUST(!search.keys.overflow && !search.texts.overflow);
        MUST(search.count == 0 || (*search.texts.data == '{' && *search.groups.data == '{'));
    }
    job_search_release(&search);
}
