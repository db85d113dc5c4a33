/* SPDX-License-Identifier: MIT
 *
 * What became of the jobs of a process, by task and by stream, with a histogram of run times. Each
 * thread counts in memory of its own, which it alone writes, so counting takes no lock and no
 * shared cache line; readers add them up. A count never goes down while the process lives.
 *
 * A run time is counted in the first bucket whose bound it does not exceed, METER_BOUNDS_US; the
 * last bucket has none. Buckets are not cumulative: readers who want Prometheus' form add them up.
 */
#ifndef WORKER_METER_H
#define WORKER_METER_H

#include <stddef.h>
#include <stdint.h>

struct task;

enum { METER_BUCKETS = 13, METER_THREADS_MAX = 257 /* 256 slots and the fetch thread */ };

/* One less than the buckets: 1, 5, 10, 50, 100, 500 ms, 1, 5, 10, 30 s, 1, 5 min. */
extern const int64_t METER_BOUNDS_US[METER_BUCKETS - 1];

enum meter_end { METER_SUCCEEDED, METER_FAILED, METER_RETRIED };
enum { METER_ENDS = METER_RETRIED + 1 };

struct meter_task {
    uint64_t ends[METER_ENDS];
    uint64_t buckets[METER_BUCKETS];
    uint64_t sum_us;
};

struct meters;

struct meters *meters_new(size_t stream_count);
void meters_free(struct meters *meters);

/* This thread counts there from now on, at `index`. One thread at a time has an index; what its
 * predecessor has counted stays. */
void meter_attach(struct meters *meters, int index);

/* The end of a job; `task` NULL: not known in this build; `runtime_us` negative: it did not run.
 * Does nothing in a thread that is not attached. */
void meter_count(const struct task *task, size_t stream, enum meter_end end, int64_t runtime_us);

/* Sums. `task` is an index into tasks[], tasks_count for those not known. */
struct meter_task meters_of_task(const struct meters *meters, size_t task);
uint64_t meters_of_stream(const struct meters *meters, size_t stream);
uint64_t meters_total(const struct meters *meters, enum meter_end end);

#endif
