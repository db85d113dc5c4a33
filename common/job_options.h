/* SPDX-License-Identifier: MIT
 *
 * What a job may carry besides task, arguments and time: a unique key, headers, a traceparent, an
 * expiry, a retention; and what is right in each. Pure. The same rules and words stand in
 * sql/0008_enqueue_options.sql.
 */
#ifndef COMMON_JOB_OPTIONS_H
#define COMMON_JOB_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "common/err.h"
#include "common/jobs.h"

enum {
    JOB_HEADERS_MAX = 32,           /* of one job */
    JOB_HEADERS_BYTES = 8 * 1024,   /* of names and values together */
    JOB_HEADERS_JSON = 64 * 1024,   /* of the text that has them, which may be escaped */
    JOB_TRACEPARENT_MAX = 512,      /* what versions to come may have */
    JOB_UNIQUE_KEY_MAX = 200,       /* bytes */
    JOB_DURATION_MAX_S = 315360000, /* of a retention or a time to live: ten years */
};

/* ERR_INVALID with a text that names the first option that is wrong. */
enum err_code job_options_check(const struct job_new *job, struct err *e) MUST_CHECK;

/* Two headers mean something: how long this one job may run, in seconds, "90" or "0.5". */
#define JOB_HEADER_TIME_LIMIT "time_limit"
#define JOB_HEADER_SOFT_TIME_LIMIT "soft_time_limit"

struct job_time_limits {
    int64_t soft_ms; /* 0: not said */
    int64_t hard_ms;
};

/* ERR_INVALID: no such number, more than a year, or soft beyond hard. `headers` may be NULL. */
enum err_code job_time_limits_read(const json_t *headers, struct job_time_limits *ret_limits,
                                   struct err *e) MUST_CHECK;

/* A JSON object of at most JOB_HEADERS_MAX texts; names are like those of tasks. */
enum err_code job_headers_check(const char *json, struct err *e) MUST_CHECK;

/* "keep", "replace" or "refuse". */
bool job_conflict_parse(const char *name, enum job_conflict *ret_conflict);

#endif
