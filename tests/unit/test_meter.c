/* SPDX-License-Identifier: MIT
 *
 * Counting what became of jobs: sums over threads, buckets of run times.
 */
#include "worker/meter.h"

#include <pthread.h>

#include <criterion/criterion.h>

#include "common/clock.h"
#include "worker/tasks.h"

enum { STREAMS = 3, ROUNDS = 20000, THREADS = 4 };

static struct meters *meters;

static void start(void) { meters = meters_new(STREAMS); }
static void finish(void) { meters_free(meters); }

TestSuite(meter, .init = start, .fini = finish);

Test(meter, a_thread_that_is_not_attached_counts_nothing)
{
    meter_count(tasks[0], 0, METER_SUCCEEDED, 1);
    cr_expect_eq(meters_total(meters, METER_SUCCEEDED), 0);
}

Test(meter, ends_are_counted_by_task_and_stream)
{
    meter_attach(meters, 0);
    meter_count(tasks[0], 0, METER_SUCCEEDED, 1);
    meter_count(tasks[1], 1, METER_FAILED, 1);
    meter_count(tasks[1], 1, METER_RETRIED, 1);
    meter_count(NULL, 2, METER_FAILED, -1);
    cr_expect_eq(meters_of_task(meters, 0).ends[METER_SUCCEEDED], 1);
    cr_expect_eq(meters_of_task(meters, 1).ends[METER_FAILED], 1);
    cr_expect_eq(meters_of_task(meters, 1).ends[METER_RETRIED], 1);
    cr_expect_eq(meters_of_task(meters, tasks_count).ends[METER_FAILED], 1, "those not known");
    cr_expect_eq(meters_total(meters, METER_FAILED), 2);
    cr_expect_eq(meters_of_stream(meters, 1), 2);
    cr_expect_eq(meters_of_stream(meters, 2), 1);
}

Test(meter, a_bound_belongs_to_its_bucket_and_the_last_has_none)
{
    meter_attach(meters, 0);
    for (int i = 0; i < METER_BUCKETS - 1; i++) {
        meter_count(tasks[0], 0, METER_SUCCEEDED, METER_BOUNDS_US[i]);
        meter_count(tasks[0], 0, METER_SUCCEEDED, METER_BOUNDS_US[i] + 1);
    }
    meter_count(tasks[0], 0, METER_SUCCEEDED, 0);
    meter_count(tasks[0], 0, METER_SUCCEEDED, -1); /* it did not run */
    for (int i = 0; i < METER_BUCKETS; i++)
        cr_expect_eq(meters_of_task(meters, 0).buckets[i], i == METER_BUCKETS - 1 ? 1 : 2,
                     "bucket %d", i);
    for (int i = 1; i < METER_BUCKETS - 1; i++)
        cr_expect_gt(METER_BOUNDS_US[i], METER_BOUNDS_US[i - 1]);
}

static void *count_many(void *index)
{
    meter_attach(meters, *(int *)index);
    for (int i = 0; i < ROUNDS; i++)
        meter_count(tasks[i % 2], 0, METER_SUCCEEDED, 10);
    return NULL;
}

Test(meter, threads_count_side_by_side_and_lose_nothing)
{
    pthread_t threads[THREADS];
    int index[THREADS];
    uint64_t last = 0;

    for (int i = 0; i < THREADS; i++) {
        index[i] = i;
        cr_assert_eq(pthread_create(&threads[i], NULL, count_many, &index[i]), 0);
    }
    for (int i = 0; i < 100; i++) {
        uint64_t now = meters_total(meters, METER_SUCCEEDED);

        cr_expect_geq(now, last, "a count never goes down");
        last = now;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(meters_total(meters, METER_SUCCEEDED), THREADS * ROUNDS);
    cr_expect_eq(meters_of_task(meters, 1).sum_us, THREADS * ROUNDS / 2 * 10);
}

Test(meter, who_takes_an_index_again_goes_on_with_its_counts)
{
    meter_attach(meters, 5);
    meter_count(tasks[0], 0, METER_SUCCEEDED, 1);
    meter_attach(meters, 6);
    meter_count(tasks[0], 0, METER_SUCCEEDED, 1);
    meter_attach(meters, 5);
    meter_count(tasks[0], 0, METER_SUCCEEDED, 1);
    cr_expect_eq(meters_total(meters, METER_SUCCEEDED), 3);
}
