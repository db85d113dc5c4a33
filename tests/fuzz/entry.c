/* SPDX-License-Identifier: MIT
 *
 * Entries of a stream, which any producer may write: the first line is the entry's id, then a field
 * a line and its value a line. Each is a delivery; what a handler is given is what it may count on.
 */
#include "tests/fuzz/target.h"

#include "common/job.h"
#include "common/json.h"
#include "common/queue.h"
#include "common/text.h"
#include "common/trace.h"

enum { WORDS_MAX = 40 };

/* The lines of `text` as texts of an answer. */
static size_t read_words(const char *text, size_t size, redisReply words[WORDS_MAX],
                         redisReply *pointers[WORDS_MAX])
{
    size_t count = 0;

    for (const char *end = text + size; count < WORDS_MAX && text <= end; count++) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        size_t len = (size_t)((line_end ? line_end : end) - text);
        char *copy = malloc(len + 1);

        MUST(copy);
        memcpy(copy, text, len);
        copy[len] = '\0';
        words[count] = (redisReply){.type = REDIS_REPLY_STRING, .str = copy, .len = (int)len};
        pointers[count] = &words[count];
        text += len + 1;
    }
    return count;
}

static void check_json(const char *text, json_type type)
{
    AUTO(json_decref) json_t *value = NULL;

    if (!text)
        return;
    MUST(json_read(text, strlen(text), JOB_ARGS_MAX, &value, NULL) == ERR_OK);
    MUST(json_typeof(value) == type);
}

static void check_delivery(const struct queue_delivery *delivery)
{
    struct uuid again;
    struct trace trace;

    MUST(uuid_parse(delivery->id.text, &again));
    if (delivery->kind == DELIVERY_UNDECODABLE)
        MUST(delivery->reason && delivery->payload);
    if (delivery->kind != DELIVERY_FAST)
        return;
    MUST(delivery->task && text_is_name(delivery->task));
    MUST(delivery->expires_us >= 0);
    MUST(!delivery->traceparent || trace_parse(delivery->traceparent, &trace));
    check_json(delivery->args, JSON_ARRAY);
    check_json(delivery->kwargs, JSON_OBJECT);
    check_json(delivery->headers, JSON_OBJECT);
}

FUZZ_TARGET(entry, text, size)
{
    redisReply words[WORDS_MAX];
    redisReply *pointers[WORDS_MAX];
    size_t count = read_words(text, size, words, pointers);
    redisReply fields = {.type = REDIS_REPLY_ARRAY, .elements = count - 1, .element = pointers + 1};
    redisReply *pair[] = {pointers[0], &fields};
    redisReply entry = {.type = REDIS_REPLY_ARRAY, .elements = 2, .element = pair};
    struct queue_delivery delivery = {0};

    if (queue_delivery_decode(&entry, "till:{default}:normal", &delivery))
        check_delivery(&delivery);
    queue_delivery_release(&delivery);
    for (size_t i = 0; i < count; i++)
        free(words[i].str);
}
