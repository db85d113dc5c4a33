/* SPDX-License-Identifier: MIT
 *
 * What PostgreSQL alone does with jobs that have an effect, as till.tasks.tally has: one UPDATE and
 * one INSERT of their own, and the UPDATE that ends the job, in a transaction. With neither Redis
 * nor a worker nor a claim round them. BATCH 1 is a transaction a job, five round trips, as pgbench
 * sends them; more is as many jobs a transaction, each statement over arrays. Inserts JOBS rows
 * first, over COUNTERS counters.
 *
 *   DATABASE_URL=... raw_tally JOBS CONNECTIONS BATCH COUNTERS
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/db.h"
#include "common/mem.h"
#include "common/text.h"
#include "common/uuid.h"

enum { CONNECTIONS_MAX = 64, BATCH_MAX = 256, ARRAY_MAX = 64 * 1024 };

static const struct db_stmt EMPTY = {"bench_empty", "TRUNCATE jobs, trial_entries CASCADE", 0};
static const struct db_stmt FILL = {
    "bench_fill",
    "INSERT INTO jobs (task, state, attempt, worker, args, enqueued_at, started_at)"
    " SELECT 'till.tasks.tally', 'STARTED', 1, 'raw', jsonb_build_array(n % $1::int), now(), now()"
    " FROM generate_series(1, $2::int) AS n",
    2};
static const struct db_stmt LIST = {"bench_list", "SELECT id, args->>0 FROM jobs ORDER BY id", 0};

/* Of the counter; of counter and id; of the id. */
static const struct db_stmt one[] = {
    {"bench_count", "UPDATE trial_counters SET total = total + 1 WHERE id = $1", 1},
    {"bench_enter", "INSERT INTO trial_entries (counter, job_id, amount) VALUES ($1, $2, 1)", 2},
    {"bench_succeed",
     "UPDATE jobs SET state = 'SUCCESS', finished_at = now(), result = NULL, error = NULL"
     " WHERE id = $1 AND attempt = 1 AND state = 'STARTED'",
     1},
};
/* Of arrays of them. */
static const struct db_stmt many[] = {
    {"bench_count_many",
     "UPDATE trial_counters c SET total = total + g.amount"
     " FROM (SELECT counter, count(*) AS amount FROM unnest($1::int[]) AS u(counter)"
     "  GROUP BY counter ORDER BY counter) g WHERE c.id = g.counter",
     1},
    {"bench_enter_many",
     "INSERT INTO trial_entries (counter, job_id, amount)"
     " SELECT counter, id, 1 FROM unnest($1::int[], $2::uuid[]) AS u(counter, id)",
     2},
    {"bench_succeed_many",
     "UPDATE jobs j SET state = 'SUCCESS', finished_at = now(), result = NULL, error = NULL"
     " FROM unnest($1::uuid[]) AS u(id)"
     " WHERE j.id = u.id AND attempt = 1 AND state = 'STARTED'",
     1},
};

struct job {
    struct uuid id;
    char counter[16];
};

struct share {
    const char *url;
    const struct job *jobs;
    size_t count;
    size_t batch;
};

static void check(enum err_code rc, const struct err *e)
{
    if (!rc)
        return;
    (void)fprintf(stderr, "raw_tally: %s %s\n", e->text, e->detail);
    exit(1);
}

static size_t number(const char *text, int64_t max)
{
    int64_t value;

    if (!text_to_int(text, 1, max, &value))
        exit(2);
    return (size_t)value;
}

static void run(struct db *db, const struct db_stmt *stmts, const char *counter, const char *id)
{
    struct err e = {0};

    /* As pgbench would: BEGIN and COMMIT by themselves. */
    check(db_run_script(db, "BEGIN", &e), &e);
    check(db_exec(db, &stmts[0], DB_ARGS(DB_TEXT(counter)), NULL, &e), &e);
    check(db_exec(db, &stmts[1], DB_ARGS(DB_TEXT(counter), DB_TEXT(id)), NULL, &e), &e);
    check(db_exec(db, &stmts[2], DB_ARGS(DB_TEXT(id)), NULL, &e), &e);
    check(db_run_script(db, "COMMIT", &e), &e);
}

static void run_batch(struct db *db, const struct job *jobs, size_t count)
{
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf counters;

    buf_init(&ids, ARRAY_MAX);
    buf_init(&counters, ARRAY_MAX);
    for (size_t i = 0; i < count; i++) {
        db_array_add(&ids, jobs[i].id.text);
        db_array_add(&counters, jobs[i].counter);
    }
    db_array_end(&ids);
    db_array_end(&counters);
    run(db, many, counters.data, ids.data);
}

static void *work(void *context)
{
    const struct share *share = context;
    AUTO(db_close) struct db *db = db_open(share->url, "bench");

    for (size_t at = 0; at < share->count; at += share->batch) {
        size_t left = share->count - at;

        if (share->batch == 1)
            run(db, one, share->jobs[at].counter, share->jobs[at].id.text);
        else
            run_batch(db, share->jobs + at, left < share->batch ? left : share->batch);
    }
    return NULL;
}

static struct job *fill(const char *url, size_t count, size_t counters)
{
    AUTO(db_close) struct db *db = db_open(url, "bench");
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct job *jobs = mem_array(count, sizeof *jobs);
    struct err e = {0};

    db_set_deadline(db, 600);
    check(db_run_script(db, "SET statement_timeout = 0", &e), &e);
    check(db_exec(db, &EMPTY, DB_NO_ARGS, NULL, &e), &e);
    check(db_exec(db, &FILL, DB_ARGS(DB_INT(counters), DB_INT(count)), NULL, &e), &e);
    check(db_run_script(db, "VACUUM ANALYZE jobs", &e), &e);
    check(db_run_script(db, "VACUUM ANALYZE trial_counters", &e), &e);
    check(db_query(db, &LIST, DB_NO_ARGS, &rows, &e), &e);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(jobs[i].id.text, sizeof jobs[i].id.text, "%s", db_text(rows, (int)i, 0));
        (void)snprintf(jobs[i].counter, sizeof jobs[i].counter, "%s", db_text(rows, (int)i, 1));
    }
    return jobs;
}

int main(int argc, char **argv)
{
    const char *url = getenv("DATABASE_URL"); /* NOLINT(concurrency-mt-unsafe): no threads yet */
    struct share shares[CONNECTIONS_MAX];
    pthread_t threads[CONNECTIONS_MAX];
    struct job *jobs;
    size_t total;
    size_t count;
    int64_t begin;

    if (argc != 5 || !url || sodium_init() < 0)
        return 2;
    total = number(argv[1], 10000000);
    count = number(argv[2], CONNECTIONS_MAX);
    jobs = fill(url, total, number(argv[4], 10000000));
    (void)puts("filled"); /* whoever measures CPU times begins here */
    (void)fflush(stdout);
    begin = clock_mono_us();
    for (size_t i = 0; i < count; i++) {
        size_t from = total * i / count;

        shares[i] = (struct share){.url = url,
                                   .jobs = jobs + from,
                                   .count = total * (i + 1) / count - from,
                                   .batch = number(argv[3], BATCH_MAX)};
        (void)pthread_create(&threads[i], NULL, work, &shares[i]);
    }
    for (size_t i = 0; i < count; i++)
        (void)pthread_join(threads[i], NULL);
    (void)printf("{\"drain\": %.0f}\n", (double)total * 1e6 / (double)(clock_mono_us() - begin));
    mem_free(jobs);
    return 0;
}
