/* SPDX-License-Identifier: MIT
 *
 * A job as JSON, for the dashboard and for `till task ... --json` alike. Secrets are redacted here,
 * so that no caller can forget it. Times are RFC 3339 texts or null, runtime is in seconds.
 */
#ifndef COMMON_JOB_JSON_H
#define COMMON_JOB_JSON_H

#include "common/job_shown.h"
#include "common/jobs_view.h"
#include "common/json.h"

/* Both give a new value, or NULL when out of memory. */
json_t *job_json(const struct job_view *job);
/* The same with `attempts`: each with its outcome, error and detail, oldest first. */
json_t *job_detail_json(const struct job_detail *detail);

/* RFC 3339, or null for 0. */
json_t *job_time_json(int64_t us);

/* Seconds of the current or last attempt; false when it has not begun, or not ended. */
bool job_runtime(const struct job_view *job, double *ret_seconds);

#endif
