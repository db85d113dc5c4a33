/* SPDX-License-Identifier: MIT
 *
 * Addresses of Redis: judged and opened without a byte read beyond; nothing is connected.
 */
#include "tests/fuzz/target.h"

#include "common/redis.h"

FUZZ_TARGET(redis_url, text, size)
{
    struct err e = {0};
    enum err_code rc = redis_check_url(text, &e);
    AUTO(redis_close) struct redis *redis = redis_open(text, "fuzz", 1);

    (void)size;
    MUST(rc == ERR_OK || rc == ERR_INVALID);
    MUST(rc == e.code && !redis_is_connected(redis));
}
