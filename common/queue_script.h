/* SPDX-License-Identifier: MIT
 *
 * Running a Lua script in Redis by its digest. The scripts themselves, with their KEYS and ARGV,
 * stand in the files that use them.
 *
 *   static struct queue_script script = {.text = "return 1"};     one for each connection's owner
 *   redis_add(&args, "EVALSHA");
 *   redis_add(&args, "");          the digest is put in here
 *   rc = queue_script_call(redis, &script, &args, &reply, e);
 */
#ifndef COMMON_QUEUE_SCRIPT_H
#define COMMON_QUEUE_SCRIPT_H

#include "common/err.h"
#include "common/redis.h"

struct queue_script {
    const char *text;
    char sha[48]; /* as the server knows it; "": not told yet */
};

/* A server that does not know the script (restarted, flushed) is told it first. */
enum err_code queue_script_call(struct redis *redis, struct queue_script *script,
                                struct redis_args *args, redisReply **ret_reply,
                                struct err *e) MUST_CHECK;

#endif
