/* SPDX-License-Identifier: MIT
 *
 * Lists of ready jobs and how they get into their streams; see job_list.h. Owns no state.
 */
#include "common/job_list.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/queue.h"

void job_list_release(struct job_list *list)
{
    mem_free(list->items);
    *list = (struct job_list){0};
}

struct job_list job_list_from_rows(const struct db_result *rows)
{
    size_t count = (size_t)db_rows(rows);
    struct job_list list = {.items = mem_array(count, sizeof list.items[0]), .count = count};

    for (size_t i = 0; i < count; i++) {
        struct job_ready *item = &list.items[i];

        (void)snprintf(item->id.text, sizeof item->id.text, "%s", db_text(rows, (int)i, 0));
        (void)snprintf(item->queue, sizeof item->queue, "%s", db_text(rows, (int)i, 1));
        item->priority = (enum job_priority)db_int(rows, (int)i, 2);
        item->is_ready = true;
    }
    return list;
}

static bool same_stream(const struct job_ready *a, const struct job_ready *b)
{
    return a->priority == b->priority && strcmp(a->queue, b->queue) == 0;
}

enum err_code job_list_push(const struct job_list *list, struct redis *redis, struct err *e)
{
    AUTO(mem_free) bool *pushed = mem_array(list->count, sizeof *pushed);
    AUTO(mem_free) struct uuid *ids = mem_array(list->count, sizeof *ids);
    enum err_code first = ERR_OK;

    for (size_t i = 0; i < list->count; i++) {
        struct queue_stream stream;
        struct err own = {0};
        size_t count = 0;
        enum err_code rc;

        if (pushed[i])
            continue;
        for (size_t k = i; k < list->count; k++) {
            if (pushed[k] || !same_stream(&list->items[i], &list->items[k]))
                continue;
            pushed[k] = true;
            ids[count++] = list->items[k].id;
        }
        stream = queue_stream_of(list->items[i].queue, list->items[i].priority);
        rc = queue_push(redis, &stream, ids, count, &own);
        if (rc && !first)
            first = err_set_detail(e, rc, own.detail, "%s", own.text);
        /* One stream that takes nothing more must not keep the others from theirs. */
        if (rc && rc != ERR_PROTOCOL)
            break;
    }
    return first;
}
