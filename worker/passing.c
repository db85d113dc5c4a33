/* SPDX-License-Identifier: MIT
 *
 * Taking what was passed on; see passing.h.
 */
#include "worker/passing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "worker/limit_board.h"
#include "worker/tasks.h"

enum { QUEUES_BYTES = SLOT_BATCH_MAX * (JOB_NAME_MAX + 8) };

/* Not while it is to end or to be quiet, nor while nobody hears its heartbeats, by which alone
 * others know that it has such jobs. */
static bool takes_work(const struct process *process)
{
    int64_t kept_us = atomic_load(&process->kept_us);

    return process_phase(process) == PROCESS_RUNNING && !process_is_quiet(process) &&
           !atomic_load(&process->overran) && !atomic_load(&process->name_lost) &&
           !atomic_load(&process->redis_lost) && kept_us &&
           clock_mono_us() - kept_us < process_lease_us(process) * 2 / 3;
}

static bool is_open(const struct process *process, size_t stream)
{
    struct limit limit;

    return !atomic_load(&process->closed[stream]) &&
           !limit_board_queue(process->limits, process->streams[stream].queue, &limit);
}

static bool is_queue_known(const struct process *process, const struct batch *batch, size_t end,
                           const char *queue)
{
    for (size_t i = 0; i < end; i++)
        if (strcmp(process->streams[batch->successes[i].item->delivery.stream].queue, queue) == 0)
            return true;
    return false;
}

void pass_init(struct pass *pass, struct process *process, const struct batch *batch)
{
    bool any_place = false;
    struct uuid id;

    *pass = (struct pass){.is_wanted = false};
    buf_init(&pass->queues, QUEUES_BYTES);
    for (size_t i = 0; i < batch->count && !any_place; i++)
        any_place = batch->successes[i].item->job.has_places;
    if (!any_place || !takes_work(process))
        return;
    for (size_t i = 0; i < batch->count; i++) {
        size_t stream = batch->successes[i].item->delivery.stream;
        const char *queue = process->streams[stream].queue;

        if (is_queue_known(process, batch, i, queue) || !is_open(process, stream))
            continue;
        db_array_add(&pass->queues, queue);
        pass->is_wanted = true;
    }
    db_array_end(&pass->queues);
    id = uuid_v7();
    (void)snprintf(pass->delivery, sizeof pass->delivery, PASSED_PREFIX "%s", id.text);
    pass->to = (struct passing){
        .worker = process->name, .delivery = pass->delivery, .queues = pass->queues.data};
}

void pass_release(struct pass *pass) { buf_release(&pass->queues); }

static size_t stream_of(const struct process *process, const struct job *job)
{
    size_t count = atomic_load(&process->stream_count);

    for (size_t i = 0; i < count; i++)
        if (process->streams[i].priority == job->priority &&
            strcmp(process->streams[i].queue, job->queue) == 0)
            return i;
    abort(); /* it was of the queues that were asked for */
}

void pass_take(struct process *process, struct passed_jobs *take_next)
{
    AUTO(mem_free) struct item **items = mem_array(take_next->count, sizeof(struct item *));

    for (size_t i = 0; i < take_next->count; i++) {
        struct job *job = &take_next->jobs[i];
        struct queue_delivery delivery = {
            .stream = stream_of(process, job), .kind = DELIVERY_DURABLE, .id = job->id};

        items[i] = pool_add(process->pool, &delivery);
        items[i]->job = *job;
        items[i]->task = task_find(job->task);
    }
    if (take_next->count > 0)
        pool_make_ready(process->pool, items, take_next->count, 1);
    take_next->count = 0; /* the items have them */
    passed_jobs_release(take_next);
}
