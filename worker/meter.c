/* SPDX-License-Identifier: MIT
 *
 * Counters of a process, one set a thread; see meter.h. A counter is written by one thread with a
 * plain load and store (no locked instruction) and read by others at any time.
 */
#include "worker/meter.h"

#include <stdatomic.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/mem.h"
#include "worker/tasks.h"

const int64_t METER_BOUNDS_US[METER_BUCKETS - 1] = {
    1 * US_PER_MS, 5 * US_PER_MS, 10 * US_PER_MS, 50 * US_PER_MS, 100 * US_PER_MS, 500 * US_PER_MS,
    1 * US_PER_S,  5 * US_PER_S,  10 * US_PER_S,  30 * US_PER_S,  60 * US_PER_S,   300 * US_PER_S};

struct task_counters {
    atomic_uint_fast64_t ends[METER_ENDS];
    atomic_uint_fast64_t buckets[METER_BUCKETS];
    atomic_uint_fast64_t sum_us;
};

struct meter {
    struct task_counters *tasks; /* tasks_count + 1 */
    atomic_uint_fast64_t *streams;
};

struct meters {
    size_t stream_count;
    _Atomic(struct meter *) threads[METER_THREADS_MAX]; /* NULL: nobody has counted there */
};

static _Thread_local struct meter *own;

struct meters *meters_new(size_t stream_count)
{
    struct meters *meters = mem_alloc(sizeof *meters);

    meters->stream_count = stream_count;
    return meters;
}

void meters_free(struct meters *meters)
{
    for (size_t i = 0; meters && i < METER_THREADS_MAX; i++) {
        struct meter *meter = atomic_load(&meters->threads[i]);

        if (!meter)
            continue;
        mem_free(meter->tasks);
        mem_free(meter->streams);
        mem_free(meter);
    }
    mem_free(meters);
}

void meter_attach(struct meters *meters, int index)
{
    own = atomic_load(&meters->threads[index]);
    if (own)
        return;
    own = mem_alloc(sizeof *own);
    own->tasks = mem_array(tasks_count + 1, sizeof own->tasks[0]);
    own->streams = mem_array(meters->stream_count, sizeof own->streams[0]);
    atomic_store(&meters->threads[index], own);
}

static void add(atomic_uint_fast64_t *c, uint64_t value)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + value,
                          memory_order_relaxed);
}

static size_t index_of(const struct task *task)
{
    size_t i = 0;

    while (i < tasks_count && tasks[i] != task)
        i++;
    return i;
}

void meter_count(const struct task *task, size_t stream, enum meter_end end, int64_t runtime_us)
{
    struct task_counters *counters;
    size_t bucket = 0;

    if (!own)
        return;
    counters = &own->tasks[index_of(task)];
    add(&counters->ends[end], 1);
    add(&own->streams[stream], 1);
    if (runtime_us < 0)
        return;
    while (bucket < METER_BUCKETS - 1 && runtime_us > METER_BOUNDS_US[bucket])
        bucket++;
    add(&counters->buckets[bucket], 1);
    add(&counters->sum_us, (uint64_t)runtime_us);
}

/* ---- sums ---- */

static uint64_t read(const atomic_uint_fast64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

struct meter_task meters_of_task(const struct meters *meters, size_t task)
{
    struct meter_task sum = {.sum_us = 0};

    for (size_t i = 0; i < METER_THREADS_MAX; i++) {
        const struct meter *meter = atomic_load(&meters->threads[i]);

        if (!meter)
            continue;
        for (int end = 0; end < METER_ENDS; end++)
            sum.ends[end] += read(&meter->tasks[task].ends[end]);
        for (int bucket = 0; bucket < METER_BUCKETS; bucket++)
            sum.buckets[bucket] += read(&meter->tasks[task].buckets[bucket]);
        sum.sum_us += read(&meter->tasks[task].sum_us);
    }
    return sum;
}

uint64_t meters_of_stream(const struct meters *meters, size_t stream)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < METER_THREADS_MAX; i++) {
        const struct meter *meter = atomic_load(&meters->threads[i]);

        sum += meter ? read(&meter->streams[stream]) : 0;
    }
    return sum;
}

uint64_t meters_total(const struct meters *meters, enum meter_end end)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < METER_THREADS_MAX; i++) {
        const struct meter *meter = atomic_load(&meters->threads[i]);

        for (size_t task = 0; meter && task <= tasks_count; task++)
            sum += read(&meter->tasks[task].ends[end]);
    }
    return sum;
}
