/* SPDX-License-Identifier: MIT
 *
 * Enqueueing as a producer in C does it, beside what hiredis and libpq alone do: fast jobs one by
 * one and in bulk, durable ones in bulk. Prints jobs a second as JSON.
 *
 *   DATABASE_URL=... REDIS_URL=... add_jobs JOBS SINGLE_JOBS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/db.h"
#include "common/jobs.h"
#include "common/mem.h"
#include "common/queue_fast.h"
#include "common/text.h"

enum { TIMEOUT_MS = 10000, STATEMENT = 5000 };

#define TASK "till.tasks.noop"

/* As few columns as a row of a job can do with. */
static const struct db_stmt BARE = {"bench_bare",
                                    "INSERT INTO jobs (id, task, enqueued_at) SELECT id, '" TASK
                                    "', now() FROM unnest($1::uuid[]) id",
                                    1};

struct bench {
    struct db *db;
    struct redis *redis;
    struct queue_stream stream;
};

static void check(enum err_code rc, const struct err *e)
{
    if (!rc)
        return;
    (void)fprintf(stderr, "add_jobs: %s %s\n", e->text, e->detail);
    exit(1);
}

static void raw_single(const struct bench *bench, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        AUTO_VALUE(redis_args_release) struct redis_args args = {0};
        const char *const words[] = {"XADD", bench->stream.key, "*", "task", TASK};
        struct err e = {0};

        for (size_t k = 0; k < COUNT_OF(words); k++)
            redis_add(&args, words[k]);
        check(redis_call(bench->redis, &args, NULL, &e), &e);
    }
}

static void fast_single(const struct bench *bench, size_t count)
{
    const struct job_new job = {.task = TASK, .priority = JOB_PRIORITY_NORMAL};

    for (size_t i = 0; i < count; i++) {
        struct uuid id;
        struct err e = {0};

        check(jobs_check(&job, &e), &e);
        check(queue_push_fast(bench->redis, &bench->stream, &job, 1, &id, &e), &e);
    }
}

static struct job_new *many_jobs(size_t count)
{
    struct job_new *jobs = mem_array(count, sizeof *jobs);

    for (size_t i = 0; i < count; i++)
        jobs[i] = (struct job_new){.task = TASK, .priority = JOB_PRIORITY_NORMAL};
    return jobs;
}

static void fast_bulk(const struct bench *bench, size_t count)
{
    AUTO(mem_free) struct job_new *jobs = many_jobs(count);
    struct err e = {0};

    check(queue_push_fast(bench->redis, &bench->stream, jobs, count, NULL, &e), &e);
}

static void bare_bulk(const struct bench *bench, size_t count)
{
    for (size_t at = 0; at < count; at += STATEMENT) {
        AUTO_VALUE(buf_release) struct buf ids;
        struct err e = {0};

        buf_init(&ids, JOBS_INSERT_BYTES);
        for (size_t i = 0; i < STATEMENT && at + i < count; i++)
            db_array_add(&ids, uuid_v7().text);
        db_array_end(&ids);
        check(db_exec(bench->db, &BARE, DB_ARGS(DB_TEXT(ids.data)), NULL, &e), &e);
    }
}

static void durable_bulk(const struct bench *bench, size_t count)
{
    AUTO(mem_free) struct job_new *jobs = many_jobs(STATEMENT);
    AUTO(mem_free) struct job_ready *ready = mem_array(STATEMENT, sizeof *ready);
    AUTO(mem_free) struct uuid *ids = mem_array(STATEMENT, sizeof *ids);

    for (size_t at = 0; at < count; at += STATEMENT) {
        size_t part = count - at < STATEMENT ? count - at : STATEMENT;
        struct err e = {0};

        check(jobs_insert_many(bench->db, jobs, part, ready, &e), &e);
        for (size_t i = 0; i < part; i++)
            ids[i] = ready[i].id;
        check(queue_push(bench->redis, &bench->stream, ids, part, &e), &e);
    }
}

static void measure(const struct bench *bench, const char *name, size_t count,
                    void (*run)(const struct bench *bench, size_t count), const char *end)
{
    int64_t began_us = clock_mono_us();

    run(bench, count);
    (void)printf("\"%s\": %.0f%s", name, (double)count * 1e6 / (double)(clock_mono_us() - began_us),
                 end);
}

static size_t number(const char *text)
{
    int64_t value;

    if (!text_to_int(text, 1, 10000000, &value))
        exit(2);
    return (size_t)value;
}

int main(int argc, char **argv)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): no threads */
    const char *urls[] = {getenv("DATABASE_URL"), getenv("REDIS_URL")};
    struct bench bench;

    if (argc != 3 || !urls[0] || !urls[1] || sodium_init() < 0)
        return 2;
    bench = (struct bench){.db = db_open(urls[0], "bench"),
                           .redis = redis_open(urls[1], "bench", TIMEOUT_MS),
                           .stream = queue_stream_of(JOB_DEFAULT_QUEUE, JOB_PRIORITY_NORMAL)};
    db_set_deadline(bench.db, 600);
    (void)printf("{");
    measure(&bench, "raw_single", number(argv[2]), raw_single, ", ");
    measure(&bench, "fast_single", number(argv[2]), fast_single, ", ");
    measure(&bench, "fast_bulk", number(argv[1]), fast_bulk, ", ");
    measure(&bench, "bare_bulk", number(argv[1]), bare_bulk, ", ");
    measure(&bench, "durable_bulk", number(argv[1]), durable_bulk, "}\n");
    redis_close(bench.redis);
    db_close(bench.db);
    return 0;
}
