/* SPDX-License-Identifier: MIT
 *
 * Reading, judging and printing limits; see limit.h.
 */
#include "common/limit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/text.h"

static const char *const scope_names[] = {
#define X(id, name) [id] = (name),
    LIMIT_SCOPES(X)
#undef X
};

static const struct unit {
    char letter;
    int64_t seconds;
} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}};

const char *limit_scope_name(enum limit_scope scope) { return scope_names[scope]; }

bool limit_scope_parse(const char *name, enum limit_scope *ret_scope)
{
    for (int i = 0; i < LIMIT_SCOPE_COUNT; i++) {
        if (strcmp(scope_names[i], name) == 0) {
            *ret_scope = (enum limit_scope)i;
            return true;
        }
    }
    return false;
}

bool limit_parse_rate(const char *text, int64_t *ret_rate, int64_t *ret_per_seconds)
{
    const char *slash = strchr(text, '/');
    char number[16];
    int64_t rate;

    if (!slash || strlen(slash) != 2 ||
        !text_format(number, sizeof number, "%.*s", (int)(slash - text), text) ||
        !text_to_int(number, 1, LIMIT_RATE_MAX, &rate))
        return false;
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (units[i].letter != slash[1])
            continue;
        *ret_rate = rate;
        *ret_per_seconds = units[i].seconds;
        return true;
    }
    return false;
}

void limit_rate_text(const struct limit *limit, char out[LIMIT_RATE_SIZE])
{
    out[0] = '\0';
    for (size_t i = 0; limit->rate && i < COUNT_OF(units); i++)
        if (units[i].seconds == limit->per_seconds)
            (void)snprintf(out, LIMIT_RATE_SIZE, "%" PRId64 "/%c", limit->rate, units[i].letter);
}

int64_t limit_default_burst(int64_t rate, int64_t per_seconds)
{
    return rate > per_seconds ? rate / per_seconds : 1;
}

bool limit_is_key(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > JOB_NAME_MAX || !text_is_utf8(text, len))
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return true;
}

enum err_code limit_check(const struct limit *limit, struct err *e)
{
    bool per_known =
        limit->per_seconds == 1 || limit->per_seconds == 60 || limit->per_seconds == 3600;

    if (limit->scope == LIMIT_KEY ? !limit_is_key(limit->name) : !text_is_name(limit->name))
        return err_set(e, ERR_INVALID, "\"%.40s\" is no name of a %s", limit->name,
                       limit_scope_name(limit->scope));
    if (!limit->concurrency && !limit->rate)
        return err_set(e, ERR_INVALID, "a limit needs a concurrency or a rate");
    if (limit->concurrency < 0 || limit->concurrency > LIMIT_CONCURRENCY_MAX)
        return err_set(e, ERR_INVALID, "concurrency is a number from 1 to %d",
                       LIMIT_CONCURRENCY_MAX);
    if (limit->rate && (limit->rate < 0 || limit->rate > LIMIT_RATE_MAX || !per_known))
        return err_set(e, ERR_INVALID, "rate is 1 to %d jobs a second, minute or hour",
                       LIMIT_RATE_MAX);
    if (limit->rate ? limit->burst < 1 || limit->burst > LIMIT_BURST_MAX : limit->burst != 0)
        return err_set(e, ERR_INVALID, "burst is a number from 1 to %d, and belongs to a rate",
                       LIMIT_BURST_MAX);
    return ERR_OK;
}
