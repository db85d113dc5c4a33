/* SPDX-License-Identifier: MIT
 *
 * Headers of a job: what is accepted is an object of few short texts whose names hold no surprise.
 */
#include "tests/fuzz/target.h"

#include "common/job_options.h"
#include "common/json.h"
#include "common/text.h"

FUZZ_TARGET(headers, text, size)
{
    AUTO(json_decref) json_t *headers = NULL;
    struct err e = {0};
    const char *name;
    json_t *value;

    (void)size;
    if (job_headers_check(text, &e)) {
        MUST(e.code == ERR_INVALID && *e.text);
        return;
    }
    MUST(json_read(text, strlen(text), JOB_HEADERS_JSON, &headers, NULL) == ERR_OK);
    MUST(json_is_object(headers) && json_object_size(headers) <= JOB_HEADERS_MAX);
    json_object_foreach(headers, name, value)
    {
        MUST(text_is_name(name) && !strpbrk(name, "\r\n: "));
        MUST(json_is_string(value) && json_string_length(value) <= JOB_HEADERS_BYTES);
    }
}
