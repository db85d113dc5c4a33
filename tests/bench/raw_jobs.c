/* SPDX-License-Identifier: MIT
 *
 * What PostgreSQL alone does with the statements of a durable job: the worker's claim and its
 * success, in batches, from T threads, with neither Redis nor a worker round them. Inserts N rows
 * first.
 *
 *   DATABASE_URL=... raw_jobs JOBS THREADS BATCH
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/clock.h"
#include "common/db.h"
#include "common/jobs_claim.h"
#include "common/jobs_succeed.h"
#include "common/mem.h"
#include "common/text.h"

enum { BATCH_MAX = 256 };

static const struct db_stmt EMPTY = {"bench_empty", "TRUNCATE jobs CASCADE", 0};
static const struct db_stmt FILL = {
    "bench_fill",
    "INSERT INTO jobs (task, enqueued_at) SELECT 'till.tasks.noop', now()"
    " FROM generate_series(1, $1::int)",
    1};
static const struct db_stmt LIST = {"bench_list", "SELECT id FROM jobs", 0};

struct share {
    const char *url;
    struct queue_delivery *deliveries;
    size_t count;
    size_t batch;
};

static void check(enum err_code rc, const struct err *e)
{
    if (!rc)
        return;
    (void)fprintf(stderr, "raw_jobs: %s %s\n", e->text, e->detail);
    exit(1);
}

static size_t number(const char *text)
{
    int64_t value;

    if (!text_to_int(text, 1, 10000000, &value))
        exit(2);
    return (size_t)value;
}

static void run_batch(struct db *db, struct queue_delivery *deliveries, size_t count)
{
    static const char *const no_results[BATCH_MAX];
    struct claim claims[BATCH_MAX];
    struct attempt attempts[BATCH_MAX];
    bool ours[BATCH_MAX];
    struct err e = {0};

    check(jobs_claim(db, "raw", deliveries, count, NULL, false, claims, &e), &e);
    for (size_t i = 0; i < count; i++) {
        attempts[i] = (struct attempt){.id = claims[i].job.id, .number = claims[i].job.attempt};
        job_release(&claims[i].job);
    }
    check(jobs_succeed_many(db, attempts, no_results, count, false, ours, &e), &e);
}

static void *work(void *context)
{
    const struct share *share = context;
    AUTO(db_close) struct db *db = db_open(share->url, "bench");

    for (size_t at = 0; at < share->count; at += share->batch) {
        size_t left = share->count - at;

        run_batch(db, share->deliveries + at, left < share->batch ? left : share->batch);
    }
    return NULL;
}

static struct queue_delivery *fill(const char *url, size_t jobs)
{
    AUTO(db_close) struct db *db = db_open(url, "bench");
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct queue_delivery *deliveries = mem_array(jobs, sizeof *deliveries);
    struct err e = {0};

    db_set_deadline(db, 600);
    check(db_run_script(db, "SET statement_timeout = 0", &e), &e);
    check(db_exec(db, &EMPTY, DB_NO_ARGS, NULL, &e), &e);
    check(db_exec(db, &FILL, DB_ARGS(DB_INT(jobs)), NULL, &e), &e);
    check(db_run_script(db, "VACUUM ANALYZE jobs", &e), &e);
    check(db_query(db, &LIST, DB_NO_ARGS, &rows, &e), &e);
    for (size_t i = 0; i < jobs; i++) {
        (void)snprintf(deliveries[i].id.text, sizeof deliveries[i].id.text, "%s",
                       db_text(rows, (int)i, 0));
        (void)snprintf(deliveries[i].entry, sizeof deliveries[i].entry, "1795293800908-%zu", i);
    }
    return deliveries;
}

int main(int argc, char **argv)
{
    const char *url = getenv("DATABASE_URL"); /* NOLINT(concurrency-mt-unsafe): no threads yet */
    struct share shares[16];
    pthread_t threads[16];
    struct queue_delivery *deliveries;
    size_t jobs;
    size_t count;
    int64_t begin;

    if (argc != 4 || !url || sodium_init() < 0)
        return 2;
    jobs = number(argv[1]);
    count = number(argv[2]);
    if (count > 16 || number(argv[3]) > BATCH_MAX)
        return 2;
    deliveries = fill(url, jobs);
    (void)puts("filled"); /* whoever measures CPU times begins here */
    (void)fflush(stdout);
    begin = clock_mono_us();
    for (size_t i = 0; i < count; i++) {
        shares[i] = (struct share){.url = url,
                                   .deliveries = deliveries + i * (jobs / count),
                                   .count = jobs / count,
                                   .batch = number(argv[3])};
        (void)pthread_create(&threads[i], NULL, work, &shares[i]);
    }
    for (size_t i = 0; i < count; i++)
        (void)pthread_join(threads[i], NULL);
    (void)printf("{\"drain\": %.0f}\n", (double)jobs * 1e6 / (double)(clock_mono_us() - begin));
    mem_free(deliveries);
    return 0;
}
