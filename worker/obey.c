/* SPDX-License-Identifier: MIT
 *
 * What was ordered, as flags; see obey.h. Times of orders are PostgreSQL's, ours are monotonic:
 * so ages are compared, never instants.
 */
#include "worker/obey.h"

#include <string.h>

#include "common/clock.h"
#include "common/log.h"

bool obey_concerns(int64_t age_us, int64_t since_us) { return age_us >= 0 && age_us < since_us; }

static void set_size(struct process *process, int slots, int min, int max)
{
    if (atomic_exchange(&process->size.slots, slots) == slots &&
        atomic_load(&process->size.min) == min && atomic_load(&process->size.max) == max)
        return;
    atomic_store(&process->size.min, min);
    atomic_store(&process->size.max, max);
    log_info("size_ordered", L_INT("slots", slots), L_INT("min", min), L_INT("max", max));
    process_wake_main();
}

/* A bound as it was set up; 0: no autoscaling. */
static int bound(const struct conf *conf, int64_t value)
{
    return conf->worker_autoscale_max ? (int)value : 0;
}

void obey_init(struct process *process)
{
    const struct conf *conf = process->conf;

    atomic_store(&process->size.slots, (int)conf->worker_concurrency);
    atomic_store(&process->size.min, bound(conf, conf->worker_autoscale_min));
    atomic_store(&process->size.max, bound(conf, conf->worker_autoscale_max));
}

static void obey_size(struct process *process, const struct worker_order *order)
{
    const struct conf *conf = process->conf;
    int slots = order->slots ? order->slots : (int)conf->worker_concurrency;

    if (order->says_size)
        set_size(process, slots, order->slots_min, order->slots_max);
    else
        set_size(process, slots, bound(conf, conf->worker_autoscale_min),
                 bound(conf, conf->worker_autoscale_max));
}

/* ---- consumers ---- */

/* Queues of TILL_QUEUES are consumed unless an order says otherwise, others only if one does. */
static bool consumes(const struct process *process, size_t queue, const struct worker_order *order)
{
    const char *name = process->queues.items[queue].name;

    for (size_t i = 0; i < order->consumer_count; i++)
        if (strcmp(order->consumers[i].queue, name) == 0)
            return order->consumers[i].consumes;
    return queue < process->own_queues;
}

static bool has_queue(const struct process *process, const char *name)
{
    for (size_t q = 0; q < process_queue_count(process); q++)
        if (strcmp(process->queues.items[q].name, name) == 0)
            return true;
    return false;
}

/* Queues that it does not know yet; true: there are any. */
static bool add_queues(struct process *process, const struct worker_order *order)
{
    bool changed = false;

    for (size_t i = 0; i < order->consumer_count; i++) {
        const struct worker_consumer *consumer = &order->consumers[i];

        if (!consumer->consumes || has_queue(process, consumer->queue))
            continue;
        if (process_add_queue(process, consumer->queue)) {
            changed = true;
            log_info("consumer_added", L_STR("queue", consumer->queue));
        } else {
            log_warn("consumer_refused", L_STR("queue", consumer->queue),
                     L_STR("why", "this worker has had as many queues as it may; restart it"));
        }
    }
    return changed;
}

bool obey_consumers(struct process *process, const struct worker_order *order)
{
    bool changed = add_queues(process, order);

    for (size_t q = 0; q < process_queue_count(process); q++) {
        bool ignored = !consumes(process, q, order);
        size_t first = q * JOB_PRIORITY_COUNT;

        if (atomic_load(&process->ignored[first]) == ignored)
            continue;
        changed = true;
        for (size_t i = first; i < first + JOB_PRIORITY_COUNT; i++)
            atomic_store(&process->ignored[i], ignored);
        log_info(ignored ? "consumer_cancelled" : "consumer_added",
                 L_STR("queue", process->queues.items[q].name));
    }
    return changed;
}

void obey_order(struct process *process, const struct worker_order *order)
{
    int64_t now_us = clock_mono_us();

    process_set_quiet(process, QUIET_BY_ORDER, order->quiet);
    obey_size(process, order);
    /* Whoever replaces a process that was to stop is meant, too: it came by the same supervisor. */
    if (obey_concerns(order->stop_age_us, now_us - process->seats->started_us) &&
        !atomic_exchange(&process->stop_ordered, true))
        process_wake_main();
    if (obey_concerns(order->restart_age_us, now_us - process->started_mono_us) &&
        !atomic_exchange(&process->restart_ordered, true))
        process_wake_main();
}
