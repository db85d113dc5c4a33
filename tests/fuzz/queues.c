/* SPDX-License-Identifier: MIT
 *
 * Lists of queues and rates of limits: what is read lies within its bounds; a rate is written as
 * what is read as the same.
 */
#include "tests/fuzz/target.h"

#include "common/limit.h"
#include "common/queue_list.h"
#include "common/text.h"

static void check_list(const char *text)
{
    struct queue_list list = {0};
    struct err e = {0};

    if (queue_list_parse(text, &list, &e)) {
        MUST(e.code == ERR_INVALID && *e.text && !list.items);
        return;
    }
    MUST(list.count >= 1 && list.count <= QUEUE_LIST_MAX);
    for (size_t i = 0; i < list.count; i++) {
        MUST(text_is_name(list.items[i].name));
        MUST(list.items[i].weight >= 1 && list.items[i].weight <= QUEUE_LIST_WEIGHT_MAX);
        MUST(list.is_weighted || list.items[i].weight == 1);
        for (size_t k = 0; k < i; k++)
            MUST(strcmp(list.items[i].name, list.items[k].name) != 0);
    }
    queue_list_release(&list);
}

static void check_rate(const char *text)
{
    struct limit limit = {.scope = LIMIT_QUEUE, .rate = 42};
    int64_t rate = 0;
    int64_t per_seconds = 0;
    char written[LIMIT_RATE_SIZE];

    if (!limit_parse_rate(text, &limit.rate, &limit.per_seconds)) {
        MUST(limit.rate == 42);
        return;
    }
    MUST(limit.rate >= 1 && limit.rate <= LIMIT_RATE_MAX && limit.per_seconds >= 1);
    MUST(limit_default_burst(limit.rate, limit.per_seconds) >= 1);
    limit_rate_text(&limit, written);
    MUST(limit_parse_rate(written, &rate, &per_seconds));
    MUST(rate == limit.rate && per_seconds == limit.per_seconds);
}

FUZZ_TARGET(queues, text, size)
{
    (void)size;
    check_list(text);
    check_rate(text);
}
