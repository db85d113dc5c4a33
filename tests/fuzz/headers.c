/* SPDX-License-Identifier: MIT
 *
 * Headers of a job: what is accepted is an object of few short texts whose names hold no surprise.
 */
#include "tests/fuzz/target.h"

#include <strings.h>

#include "common/job_headers.h"
#include "common/job_options.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"

/* What goes out is among them, and is one line each. */
static void check_outgoing(const char *text, const json_t *headers)
{
    AUTO(json_decref) json_t *shown = job_headers_shown(NULL, text);
    AUTO(json_decref) json_t *out = job_headers_outgoing(shown);
    AUTO(json_decref) json_t *joined = job_headers_joined(headers, out);
    AUTO(mem_free) char *line = job_headers_line(shown);
    const char *name;
    json_t *value;

    MUST(!line || strlen(line) <= 8 * JOB_HEADERS_LOGGED);
    MUST(json_object_size(out) <= JOB_HEADERS_OUT_MAX);
    MUST(json_object_size(joined) == json_object_size(headers));
    json_object_foreach(out, name, value)
    {
        const char *sent = json_string_value(value);

        MUST(strncasecmp(name, "X-", 2) == 0 && strlen(name) <= JOB_HEADER_OUT_NAME);
        MUST(json_equal(value, json_object_get(headers, name)));
        for (const char *p = sent; *p; p++)
            MUST(*p >= ' ' && *p <= '~');
        MUST(*sent && strlen(sent) <= JOB_HEADER_OUT_VALUE);
    }
}

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
    check_outgoing(text, headers);
}
