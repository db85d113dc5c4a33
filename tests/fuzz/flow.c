/* SPDX-License-Identifier: MIT
 *
 * Flows: any JSON is refused with a place, or has as many jobs as it may have.
 */
#include "tests/fuzz/target.h"

#include "common/flow_spec.h"

FUZZ_TARGET(flow, text, size)
{
    AUTO(json_decref) json_t *flow = NULL;
    struct err e = {0};
    size_t jobs = 0;

    if (json_read(text, size, FLOW_BYTES_MAX, &flow, NULL))
        return;
    if (flow_check(flow, &jobs, &e)) {
        MUST(e.code == ERR_INVALID && *e.text);
        return;
    }
    MUST(json_is_object(flow) && jobs >= 1 && jobs <= FLOW_JOBS_MAX);
}
