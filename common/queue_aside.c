/* SPDX-License-Identifier: MIT
 *
 * Keys of the wrong type; see queue_aside.h. The new name has the braces of the old one, so it is
 * in the same slot of a cluster.
 */
#include "common/queue_aside.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/job.h"

enum { ASIDE_SIZE = JOB_NAME_MAX + 64 };

static enum err_code find_type(struct redis *redis, const char *key, redisReply **ret_reply,
                               struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};

    redis_add(&args, "TYPE");
    redis_add(&args, key);
    return redis_call(redis, &args, ret_reply, e);
}

enum err_code queue_put_aside(struct redis *redis, const char *key, const char *type, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    char aside[ASIDE_SIZE];
    enum err_code rc = find_type(redis, key, &reply, e);

    if (rc)
        return rc;
    if (reply->type != REDIS_REPLY_STATUS)
        return redis_bad_reply("TYPE", e);
    if (strcmp(reply->str, type) == 0 || strcmp(reply->str, "none") == 0)
        return ERR_OK;
    (void)snprintf(aside, sizeof aside, "%s:aside:%" PRId64, key, clock_wall_us());
    redis_add(&args, "RENAMENX");
    redis_add(&args, key);
    redis_add(&args, aside);
    if (redis_call(redis, &args, NULL, NULL))
        return err_set(e, ERR_UNAVAILABLE, "\"%.100s\" is no %s (%s): rename or delete it", key,
                       type, redis_error_word(redis));
    return err_set(e, ERR_UNAVAILABLE, "\"%.100s\" was no %s; its value has %s after its name now",
                   key, type, aside + strlen(key));
}
