/* SPDX-License-Identifier: MIT
 *
 * Limits as JSON; see limits_json.h.
 */
#include "common/limits_json.h"

static json_t *number_or_null(int64_t number)
{
    return number ? json_integer(number) : json_null();
}

static json_t *seconds_or_null(int64_t ms)
{
    return ms ? json_real((double)ms / 1000.0) : json_null();
}

json_t *limit_json(const struct limit *limit)
{
    char rate[LIMIT_RATE_SIZE];

    limit_rate_text(limit, rate);
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "scope", limit_scope_name(limit->scope), "name",
                     limit->name, "concurrency", number_or_null(limit->concurrency), "rate",
                     *rate ? json_string(rate) : json_null(), "burst",
                     number_or_null(limit->burst));
}

json_t *limit_json_counted(const struct limit *limit, const struct limit_count *count)
{
    json_t *value = limit_json(limit);

    if (limit->scope == LIMIT_QUEUE)
        return value;
    (void)json_object_set_new(value, "running",
                              limit->concurrency ? json_integer(count->running) : json_null());
    (void)json_object_set_new(value, "parked", json_integer(count->parked));
    return value;
}

json_t *time_limit_json(const struct time_limit *limit)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "task", limit->task, "soft",
                     seconds_or_null(time_limit_soft_ms(limit)), "hard",
                     seconds_or_null(time_limit_hard_ms(limit)), "own_soft",
                     seconds_or_null(limit->own_soft_ms), "own_hard",
                     seconds_or_null(limit->own_hard_ms));
}
