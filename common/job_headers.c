/* SPDX-License-Identifier: MIT
 *
 * Where the headers of a job go; see job_headers.h. They leave under their own names, not as
 * parameters of a request: those are part of what an idempotency key stands for, and another job
 * for the same payment may have other headers.
 */
#include "common/job_headers.h"

#include <string.h>
#include <strings.h>

#include "common/auto.h"
#include "common/job_options.h"
#include "common/json.h"
#include "common/redact.h"
#include "common/text.h"

json_t *job_headers_shown(const struct secrets *secrets, const char *headers)
{
    AUTO(json_decref) json_t *object = NULL;

    if (!headers || json_read(headers, strlen(headers), SIZE_MAX, &object, NULL) ||
        !json_is_object(object) || json_object_size(object) == 0)
        return NULL;
    return redact_json_of(secrets, object, SECRETS_OF_OBJECT);
}

char *job_headers_line(const json_t *shown)
{
    AUTO(json_decref) json_t *line = json_object();
    const char *name;
    json_t *value;
    size_t bytes = 0;

    json_object_foreach((json_t *)(uintptr_t)shown, name, value)
    {
        size_t len = strlen(name) + json_string_length(value);

        if (bytes + len > JOB_HEADERS_LOGGED)
            continue;
        bytes += len;
        (void)json_object_set(line, name, value);
    }
    return json_object_size(line) > 0 ? json_write(line) : NULL;
}

/* Servers and proxies act on these, and these are written by mail servers, gateways and us. */
static bool is_taken(const char *name)
{
    static const char *const beginnings[] = {
        "X-Forwarded", "X-HTTP-",   "X-Method-", "X-Original-", "X-Rewrite-",
        "X-Real-",     "X-Client-", "X-Auth",    "X-Stripe-",   "X-Till-",
        "X-Spam",      "X-Virus",   "X-Csrf",    "X-Accel-",    "X-Sendfile",
    };

    for (size_t i = 0; i < COUNT_OF(beginnings); i++)
        if (strncasecmp(name, beginnings[i], strlen(beginnings[i])) == 0)
            return true;
    return false;
}

bool job_header_goes_out(const char *name, const char *value)
{
    size_t len = strlen(value);

    if (strncasecmp(name, "X-", 2) != 0 || !name[2] || strlen(name) > JOB_HEADER_OUT_NAME ||
        !text_is_name(name) || is_taken(name))
        return false;
    for (const char *p = value; *p; p++)
        if (*p < ' ' || *p > '~')
            return false;
    return len > 0 && len <= JOB_HEADER_OUT_VALUE && value[0] != ' ' && value[len - 1] != ' ';
}

/* The same in other letters is the same to who receives it. */
static bool has_name(const json_t *object, const char *wanted)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        if (strcasecmp(name, wanted) == 0)
            return true;
    }
    return false;
}

json_t *job_headers_outgoing(const json_t *shown)
{
    AUTO(json_decref) json_t *out = json_object();
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)shown, name, value)
    {
        const char *text = json_string_value(value);

        if (text && !strstr(text, REDACTED) && job_header_goes_out(name, text) &&
            !has_name(out, name) && json_object_size(out) < JOB_HEADERS_OUT_MAX)
            (void)json_object_set(out, name, value);
    }
    return json_object_size(out) > 0 ? TAKE(out) : NULL;
}

static size_t bytes_of(const json_t *headers)
{
    const char *name;
    json_t *value;
    size_t bytes = 0;

    json_object_foreach((json_t *)(uintptr_t)headers, name, value)
    {
        bytes += strlen(name) + json_string_length(value);
    }
    return bytes;
}

json_t *job_headers_joined(const json_t *own, const json_t *inherited)
{
    AUTO(json_decref)
    json_t *joined = json_is_object(own) ? json_copy((json_t *)(uintptr_t)own) : json_object();
    size_t bytes = bytes_of(joined);
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)inherited, name, value)
    {
        size_t len = strlen(name) + json_string_length(value);

        if (has_name(joined, name) || json_object_size(joined) == JOB_HEADERS_MAX ||
            bytes + len > JOB_HEADERS_BYTES)
            continue;
        bytes += len;
        (void)json_object_set(joined, name, value);
    }
    return json_object_size(joined) > 0 ? TAKE(joined) : NULL;
}
