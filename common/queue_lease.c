/* SPDX-License-Identifier: MIT
 *
 * The script that renews what is still ours; see queue_lease.h.
 */
#include "common/queue_lease.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

/* KEYS: one stream. ARGV: group, consumer, entries.
 * Answer: for each entry 1 when it was the consumer's and is renewed, 0 when it was not. */
static const char renew_script[] =
    "local group, consumer, answer = ARGV[1], ARGV[2], {}\n"
    "for i = 3, #ARGV do\n"
    "  local held = redis.pcall('XPENDING', KEYS[1], group, ARGV[i], ARGV[i], 1, consumer)\n"
    "  if held.err then return held end\n"
    "  answer[i - 2] = #held\n"
    "  if #held == 1 then\n"
    "    redis.call('XCLAIM', KEYS[1], group, consumer, 0, ARGV[i], 'JUSTID')\n"
    "  end\n"
    "end\n"
    "return answer\n";

/* One stream's entries at[0..count) of `entries`; sets kept[] of each. */
static enum err_code renew_stream(struct redis *redis, struct queue_script *script,
                                  const struct queue_stream *stream, const char *consumer,
                                  const struct queue_entry *entries, size_t count, bool *ret_kept,
                                  struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;
    const char *const words[] = {"EVALSHA", "", "1", stream->key, QUEUE_GROUP, consumer};
    struct err own = {0};
    enum err_code rc;

    for (size_t i = 0; i < COUNT_OF(words); i++)
        redis_add(&args, words[i]);
    for (size_t i = 0; i < count; i++)
        redis_add(&args, entries[i].entry);
    rc = queue_script_call(redis, script, &args, &reply, &own);
    /* Without a group there is nothing to hold: the data is gone, and fetching makes it anew. */
    if (rc && strcmp(redis_error_word(redis), "NOGROUP") == 0) {
        for (size_t i = 0; i < count; i++)
            ret_kept[i] = true;
        return ERR_OK;
    }
    if (rc)
        return err_set_detail(e, rc, own.detail, "%s", own.text);
    if (!redis_is_array(reply) || reply->elements != count)
        return redis_bad_reply("EVALSHA", e);
    for (size_t i = 0; i < count; i++)
        ret_kept[i] = reply->element[i]->type == REDIS_REPLY_INTEGER && reply->element[i]->integer;
    return ERR_OK;
}

static int compare_streams(const void *a, const void *b)
{
    size_t left = ((const struct queue_entry *)a)->stream;
    size_t right = ((const struct queue_entry *)b)->stream;

    return (left > right) - (left < right);
}

static size_t run_length(const struct queue_entry *entries, size_t count)
{
    size_t length = 1;

    while (length < count && entries[length].stream == entries[0].stream)
        length++;
    return length;
}

enum err_code queue_renew_own(struct redis *redis, struct queue_script *script,
                              const struct queue_stream *streams, const char *consumer,
                              struct queue_entry *entries, size_t count, size_t *ret_lost,
                              struct err *e)
{
    AUTO(mem_free) bool *kept = mem_array(count, sizeof *kept);
    size_t lost = 0;

    script->text = renew_script;
    qsort(entries, count, sizeof *entries, compare_streams);
    for (size_t at = 0; at < count;) {
        size_t length = run_length(entries + at, count - at);
        enum err_code rc = renew_stream(redis, script, &streams[entries[at].stream], consumer,
                                        entries + at, length, kept + at, e);

        if (rc)
            return rc;
        at += length;
    }
    for (size_t i = 0; i < count; i++) {
        struct queue_entry entry = entries[i];

        if (kept[i])
            continue;
        entries[i] = entries[lost];
        entries[lost++] = entry;
    }
    *ret_lost = lost;
    return ERR_OK;
}
