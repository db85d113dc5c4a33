/* SPDX-License-Identifier: MIT
 *
 * Giving back what a process holds; see give_back.h. The table first, then a new entry, and only
 * then the old one away.
 */
#include "worker/give_back.h"

#include <string.h>

#include "common/crashpoint.h"
#include "common/jobs_run.h"
#include "common/limit_ghosts.h"
#include "common/log.h"
#include "common/mem.h"

/* Items in one state, copied out of the pool. */
struct given_back {
    struct attempt *attempts;
    struct queue_entry *entries;
    size_t count;
    size_t max;
};

static bool copy_durable(struct item *item, void *context)
{
    struct given_back *list = context;

    if (item->delivery.kind != DELIVERY_DURABLE || item->lost || list->count == list->max)
        return false;
    list->attempts[list->count] = item_attempt(item);
    list->entries[list->count].stream = item->delivery.stream;
    memcpy(list->entries[list->count].entry, item->delivery.entry, QUEUE_ENTRY_SIZE);
    list->count++;
    return false;
}

/* PENDING in the table, a new entry in the stream, and only then the old one away. Where a server
 * does not answer, the old entry stays pending and is taken over after the lease. */
static void give_back_list(struct process *process, struct db *db, struct redis *redis,
                           const struct given_back *list)
{
    AUTO(mem_free) bool *released = mem_array(list->count, sizeof *released);
    struct err e = {0};
    size_t count = 0;

    if (jobs_give_back(db, list->attempts, list->count, released, &e)) {
        log_warn("give_back_failed", L_ERR(&e));
        return;
    }
    CRASH_POINT("give_back.written");
    for (size_t i = 0; i < list->count; i++) {
        if (!released[i]) { /* revoked, perhaps: its handler ends with this process */
            if (limit_ghosts_end(db, &list->attempts[i], 1, &e))
                log_debug("place_not_given_back", L_ERR(&e));
            continue;
        }
        count++;
        if (queue_push(redis, &process->streams[list->entries[i].stream], &list->attempts[i].id, 1,
                       &e) ||
            (*list->entries[i].entry && /* it has none where it came by a place */
             queue_ack(redis, process->streams, &list->entries[i], 1, &e))) {
            log_warn("give_back_not_pushed", L_ERR(&e));
            return;
        }
    }
    CRASH_POINT("give_back.pushed");
    log_info("jobs_given_back", L_INT("count", count));
}

void give_back(struct process *process, struct db *db, struct redis *redis, enum item_state state)
{
    struct pool_count counts = pool_counts(process->pool);
    size_t max = (size_t)(state == ITEM_WAITING ? counts.waiting : counts.running);
    struct given_back list = {.max = max,
                              .attempts = mem_array(max, sizeof list.attempts[0]),
                              .entries = mem_array(max, sizeof list.entries[0])};

    pool_visit(process->pool, state, copy_durable, &list);
    if (list.count > 0)
        give_back_list(process, db, redis, &list);
    mem_free(list.attempts);
    mem_free(list.entries);
}
