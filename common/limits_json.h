/* SPDX-License-Identifier: MIT
 *
 * Limits as JSON, alike for the command line and the dashboard. What is not limited is null; times
 * are in seconds. New values, owned by the caller.
 */
#ifndef COMMON_LIMITS_JSON_H
#define COMMON_LIMITS_JSON_H

#include <jansson.h>

#include "common/limits.h"
#include "common/time_limits.h"

/* scope, name, concurrency, rate ("10/s"), burst. */
json_t *limit_json(const struct limit *limit);

/* The same with `running`, under a concurrency, and `parked`; limits of queues have neither. */
json_t *limit_json_counted(const struct limit *limit, const struct limit_count *count);

/* task, soft, hard: what holds; own_soft, own_hard: what its author declared. */
json_t *time_limit_json(const struct time_limit *limit);

#endif
