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

static enum err_code is_other(struct redis *redis, const char *key, const char *type, bool *ret_is,
                              struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    enum err_code rc;

    redis_add(&args, "TYPE");
    redis_add(&args, key);
    rc = redis_call(redis, &args, &reply, e);
    if (rc)
        return rc;
    if (reply->type != REDIS_REPLY_STATUS)
        return redis_bad_reply("TYPE", e);
    *ret_is = strcmp(reply->str, type) != 0 && strcmp(reply->str, "none") != 0;
    return ERR_OK;
}

/* Two workers that meet such a key at once both try: whoever is later finds it gone. */
enum err_code queue_put_aside(struct redis *redis, const char *key, const char *type, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    struct err why = {0};
    char aside[ASIDE_SIZE];
    bool stands = false;
    enum err_code rc = is_other(redis, key, type, &stands, e);

    if (rc || !stands)
        return rc;
    (void)snprintf(aside, sizeof aside, "%s:aside:%" PRId64, key, clock_wall_us());
    redis_add(&args, "RENAMENX");
    redis_add(&args, key);
    redis_add(&args, aside);
    if (!redis_call(redis, &args, NULL, &why))
        return err_set(e, ERR_UNAVAILABLE,
                       "\"%.100s\" was no %s; its value has %s after its name now", key, type,
                       aside + strlen(key));
    rc = is_other(redis, key, type, &stands, e);
    if (rc || !stands)
        return rc;
    return err_set_detail(e, ERR_UNAVAILABLE, why.detail,
                          "\"%.100s\" is no %s: rename or delete it (%s)", key, type, why.text);
}
