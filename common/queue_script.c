/* SPDX-License-Identifier: MIT
 *
 * EVALSHA, and SCRIPT LOAD where it is needed; see queue_script.h.
 */
#include "common/queue_script.h"

#include <string.h>

#include "common/buf.h"

static enum err_code load_script(struct redis *redis, struct queue_script *script, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    enum err_code rc;

    redis_add(&args, "SCRIPT");
    redis_add(&args, "LOAD");
    redis_add(&args, script->text);
    rc = redis_call(redis, &args, &reply, e);
    if (rc)
        return rc;
    if (!redis_is_text(reply) || !text_format(script->sha, sizeof script->sha, "%s", reply->str))
        return redis_bad_reply("SCRIPT LOAD", e);
    return ERR_OK;
}

enum err_code queue_script_call(struct redis *redis, struct queue_script *script,
                                struct redis_args *args, redisReply **ret_reply, struct err *e)
{
    bool is_fresh = !*script->sha;

    for (;;) {
        struct err own = {0};
        enum err_code rc = *script->sha ? ERR_OK : load_script(redis, script, e);

        if (rc)
            return rc;
        args->words[1] = script->sha;
        args->lengths[1] = strlen(script->sha);
        rc = redis_call(redis, args, ret_reply, &own);
        if (!rc)
            return ERR_OK;
        if (is_fresh || strcmp(redis_error_word(redis), "NOSCRIPT") != 0)
            return err_set_detail(e, rc, own.detail, "%s", own.text);
        is_fresh = true;
        script->sha[0] = '\0';
    }
}
