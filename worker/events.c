/* SPDX-License-Identifier: MIT
 *
 * Changes of jobs on their way into the stream of events; see events.h.
 */
#include "worker/events.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/queue_events.h"

enum { ROUND_MS = EVENTS_ROUND_MS, ROUND_MAX = 256 };

struct events {
    pthread_mutex_t lock;
    struct queue_event round[ROUND_MAX];
    int max; /* of a round; 0: events are off */
    atomic_int count;
    atomic_uint_fast64_t skipped;
    int64_t sent_us; /* monotonic; the keeper's */
};

struct events *events_new(int64_t per_second)
{
    struct events *events = mem_alloc(sizeof *events);
    int64_t max = (per_second * ROUND_MS + 999) / 1000;

    pthread_mutex_init(&events->lock, NULL);
    events->max = max < ROUND_MAX ? (int)max : ROUND_MAX;
    return events;
}

static void fill(struct queue_event *event, const struct item *item, enum job_state state,
                 int64_t runtime_us)
{
    bool durable = item->delivery.kind == DELIVERY_DURABLE;
    const char *task = durable ? item->job.task : item->delivery.task;

    event->job = durable ? item->job.id : item->delivery.id;
    (void)snprintf(event->task, sizeof event->task, "%s", task ? task : "");
    event->state = state;
    event->attempt = durable ? item->job.attempt : 1;
    event->at_us = clock_wall_us();
    event->runtime_us = runtime_us > 0 ? runtime_us : 0;
}

void events_add(struct events *events, const struct item *item, enum job_state state,
                int64_t runtime_us)
{
    if (events->max == 0)
        return;
    if (atomic_load_explicit(&events->count, memory_order_relaxed) >= events->max) {
        atomic_fetch_add_explicit(&events->skipped, 1, memory_order_relaxed);
        return;
    }
    pthread_mutex_lock(&events->lock);
    if (events->count < events->max)
        fill(&events->round[events->count++], item, state, runtime_us);
    else
        atomic_fetch_add(&events->skipped, 1);
    pthread_mutex_unlock(&events->lock);
}

bool events_wait(const struct events *events) { return atomic_load(&events->count) > 0; }

void events_send(struct events *events, struct redis *redis, const char *worker)
{
    struct queue_event *taken;
    struct err e = {0};
    uint64_t skipped;
    size_t count;

    if (!events_wait(events) || clock_mono_us() - events->sent_us < ROUND_MS * US_PER_MS)
        return;
    taken = mem_array(ROUND_MAX, sizeof *taken);
    pthread_mutex_lock(&events->lock);
    count = (size_t)atomic_load(&events->count);
    memcpy(taken, events->round, count * sizeof *taken);
    atomic_store(&events->count, 0);
    skipped = atomic_exchange(&events->skipped, 0);
    pthread_mutex_unlock(&events->lock);
    events->sent_us = clock_mono_us();
    if (queue_publish_events(redis, worker, taken, count, skipped, &e))
        log_debug("events_not_sent", L_ERR(&e));
    mem_free(taken);
}
