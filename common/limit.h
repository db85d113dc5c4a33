/* SPDX-License-Identifier: MIT
 *
 * What a limit is: so many at the same time (concurrency), so many in a time (rate, a token bucket
 * of `burst` tokens), or both, of a queue, a task or a key. Pure; limits.h keeps them.
 */
#ifndef COMMON_LIMIT_H
#define COMMON_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/job.h"

#define LIMIT_SCOPES(X)                                                                            \
    X(LIMIT_QUEUE, "queue")                                                                        \
    X(LIMIT_TASK, "task")                                                                          \
    X(LIMIT_KEY, "key") /* a name that ends in '*' is for all keys that begin so, for each alone   \
                         */

enum limit_scope {
#define X(id, name) id,
    LIMIT_SCOPES(X)
#undef X
        LIMIT_SCOPE_COUNT,
};

enum {
    LIMIT_CONCURRENCY_MAX = 1000000,
    LIMIT_RATE_MAX = 1000000,
    LIMIT_BURST_MAX = 1000000,
    LIMIT_RATE_SIZE = 24, /* of limit_rate_text() */
};

struct limit {
    enum limit_scope scope;
    char name[JOB_NAME_MAX + 1];
    int64_t concurrency; /* 0: any number */
    int64_t rate;        /* jobs in per_seconds; 0: any number */
    int64_t per_seconds;
    int64_t burst; /* at most so many of them at once */
};

const char *limit_scope_name(enum limit_scope scope);
bool limit_scope_parse(const char *name, enum limit_scope *ret_scope);

/* "10/s", "600/m" or "1000/h": jobs a second, minute or hour. */
bool limit_parse_rate(const char *text, int64_t *ret_rate, int64_t *ret_per_seconds);
/* The same back; "" when there is no rate. */
void limit_rate_text(const struct limit *limit, char out[LIMIT_RATE_SIZE]);

/* What a second brings, at least one. */
int64_t limit_default_burst(int64_t rate, int64_t per_seconds);

/* Whether the limit makes sense and limits something: ERR_INVALID says what is wrong. */
enum err_code limit_check(const struct limit *limit, struct err *e) MUST_CHECK;

/* What jobs.limit_key may be: 1 to 200 bytes of UTF-8 without control characters. */
bool limit_is_key(const char *text);

#endif
