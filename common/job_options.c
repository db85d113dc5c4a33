/* SPDX-License-Identifier: MIT
 *
 * The options of a job, judged; see job_options.h. Opens nothing.
 */
#include "common/job_options.h"

#include <string.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/limit.h"
#include "common/text.h"
#include "common/time_limits.h"
#include "common/trace.h"

static enum err_code check_header(const char *name, const json_t *value, struct err *e)
{
    if (!text_is_name(name))
        return err_set(e, ERR_INVALID, "\"%.60s\" is no name of a header", name);
    if (!json_is_string(value))
        return err_set(e, ERR_INVALID, "header \"%.60s\" of a job must be a text", name);
    return ERR_OK;
}

static enum err_code read_limit(const json_t *headers, const char *name, int64_t *ret_ms,
                                struct err *e)
{
    const char *text = json_string_value(json_object_get(headers, name));

    *ret_ms = 0;
    if (text && !text_to_ms(text, TIME_LIMIT_MS_MAX, ret_ms))
        return err_set(e, ERR_INVALID,
                       "header \"%s\" of a job is a number of seconds up to a year, such as 90 or"
                       " 0.5",
                       name);
    return ERR_OK;
}

enum err_code job_time_limits_read(const json_t *headers, struct job_time_limits *ret_limits,
                                   struct err *e)
{
    struct job_time_limits limits;
    enum err_code rc = read_limit(headers, JOB_HEADER_SOFT_TIME_LIMIT, &limits.soft_ms, e);

    if (!rc)
        rc = read_limit(headers, JOB_HEADER_TIME_LIMIT, &limits.hard_ms, e);
    if (rc)
        return rc;
    if (limits.hard_ms && limits.soft_ms > limits.hard_ms)
        return err_set(e, ERR_INVALID, "soft_time_limit of a job is beyond its time_limit");
    *ret_limits = limits;
    return ERR_OK;
}

enum err_code job_headers_check(const char *json, struct err *e)
{
    struct job_time_limits limits;
    AUTO(json_decref) json_t *headers = NULL;
    const char *name;
    json_t *value;
    size_t bytes = 0;

    if (json_read(json, strlen(json), JOB_HEADERS_JSON, &headers, NULL) || !json_is_object(headers))
        return err_set(e, ERR_INVALID, "headers of a job must be a JSON object of texts");
    json_object_foreach(headers, name, value)
    {
        enum err_code rc = check_header(name, value, e);

        if (rc)
            return rc;
        bytes += strlen(name) + json_string_length(value);
    }
    if (json_object_size(headers) > JOB_HEADERS_MAX || bytes > JOB_HEADERS_BYTES)
        return err_set(e, ERR_INVALID,
                       "headers of a job are at most %d, and at most %d bytes together",
                       JOB_HEADERS_MAX, JOB_HEADERS_BYTES);
    return job_time_limits_read(headers, &limits, e);
}

/* UTF-8 without controls (C0, DEL, C1), so that it can be shown, logged and typed. */
static bool is_printable(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < ' ' || *p == 0x7f || (*p == 0xc2 && p[1] < 0xa0))
            return false;
    return text_is_utf8(text, strlen(text));
}

static enum err_code check_unique(const struct job_new *job, struct err *e)
{
    size_t len;

    if (!job->unique_key) {
        if (job->unique_ttl_s || job->on_conflict != JOB_CONFLICT_KEEP)
            return err_set(e, ERR_INVALID, "unique_ttl and on_conflict belong to a unique_key");
        return ERR_OK;
    }
    len = strlen(job->unique_key);
    if (len < 1 || len > JOB_UNIQUE_KEY_MAX || !is_printable(job->unique_key))
        return err_set(e, ERR_INVALID, "unique_key is 1 to %d bytes of printable text",
                       JOB_UNIQUE_KEY_MAX);
    if (job->unique_ttl_s < 0 || job->unique_ttl_s > JOB_DURATION_MAX_S)
        return err_set(e, ERR_INVALID, "unique_ttl is 1 second to 10 years");
    return ERR_OK;
}

enum err_code job_options_check(const struct job_new *job, struct err *e)
{
    struct trace trace;
    enum err_code rc = check_unique(job, e);

    if (rc)
        return rc;
    if (job->expires_us && job->expires_us <= job->scheduled_us)
        return err_set(e, ERR_INVALID, "a job that expires before its time comes would never run");
    if (job->limit_key && !limit_is_key(job->limit_key))
        return err_set(e, ERR_INVALID, "limit_key is 1 to %d bytes of printable text",
                       JOB_NAME_MAX);
    if (job->retention_s < 0 || job->retention_s > JOB_DURATION_MAX_S)
        return err_set(e, ERR_INVALID, "the retention of a job is 1 second to 10 years");
    if (job->traceparent && !trace_parse(job->traceparent, &trace))
        return err_set(e, ERR_INVALID, "\"%.60s\" is no traceparent", job->traceparent);
    return job->headers ? job_headers_check(job->headers, e) : ERR_OK;
}

bool job_conflict_parse(const char *name, enum job_conflict *ret_conflict)
{
    static const char *const names[] = {
        [JOB_CONFLICT_KEEP] = "keep",
        [JOB_CONFLICT_REPLACE] = "replace",
        [JOB_CONFLICT_REFUSE] = "refuse",
    };

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret_conflict = (enum job_conflict)i;
            return true;
        }
    }
    return false;
}
