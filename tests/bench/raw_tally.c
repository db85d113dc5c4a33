/* SPDX-License-Identifier: MIT
 *
 * What libpq alone does with jobs that have an effect, as till.tasks.tally has: one UPDATE and one
 * INSERT of their own, and the UPDATE that ends the job, in a transaction. With neither Redis nor a
 * worker nor a claim round them. BATCH 1 is a transaction a job, five round trips, as pgbench sends
 * them; more is as many jobs a transaction, each statement over arrays. Inserts JOBS rows first,
 * over COUNTERS counters.
 *
 *   DATABASE_URL=... raw_tally JOBS CONNECTIONS BATCH COUNTERS
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "common/clock.h"
#include "common/text.h"

enum { CONNECTIONS_MAX = 64, BATCH_MAX = 256, ID_SIZE = 40, ARRAY_SIZE = BATCH_MAX * ID_SIZE };

static const char *const fill[] = {
    "SET statement_timeout = 0",
    "TRUNCATE jobs, job_errors, trial_entries",
    "INSERT INTO jobs (task, state, attempt, worker, args, enqueued_at, started_at)"
    " SELECT 'till.tasks.tally', 'STARTED', 1, 'raw', jsonb_build_array(n % $1::int), now(), now()"
    " FROM generate_series(1, $2::int) AS n",
    "VACUUM ANALYZE jobs",
    "VACUUM ANALYZE trial_counters",
};

/* Of the counter, of counter and id, and of the id. For many: of arrays of them. */
static const char *const one[] = {
    "UPDATE trial_counters SET total = total + 1 WHERE id = $1::int",
    "INSERT INTO trial_entries (job_id, counter, amount) VALUES ($2::uuid, $1::int, 1)",
    "UPDATE jobs SET state = 'SUCCESS', finished_at = now(), result = NULL, error = NULL"
    " WHERE id = $1::uuid AND attempt = 1 AND state::text = 'STARTED'",
};
static const char *const many[] = {
    "UPDATE trial_counters c SET total = total + g.amount"
    " FROM (SELECT counter, count(*) AS amount FROM unnest($1::int[]) AS u(counter)"
    "  GROUP BY counter ORDER BY counter) g WHERE c.id = g.counter",
    "INSERT INTO trial_entries (job_id, counter, amount)"
    " SELECT id, counter, 1 FROM unnest($1::int[], $2::uuid[]) AS u(counter, id)",
    "UPDATE jobs j SET state = 'SUCCESS', finished_at = now(), result = NULL, error = NULL"
    " FROM unnest($1::uuid[]) AS u(id)"
    " WHERE j.id = u.id AND attempt = 1 AND state::text = 'STARTED'",
};

struct job {
    char id[ID_SIZE];
    char counter[16];
};

struct share {
    const char *url;
    const struct job *jobs;
    size_t count;
    size_t batch;
};

static void check(PGconn *conn, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        (void)fprintf(stderr, "raw_tally: %s\n", PQerrorMessage(conn));
        exit(1);
    }
}

static void run(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);

    check(conn, result);
    PQclear(result);
}

static PGconn *open_connection(const char *url)
{
    PGconn *conn = PQconnectdb(url);

    if (PQstatus(conn) != CONNECTION_OK) {
        (void)fprintf(stderr, "raw_tally: %s\n", PQerrorMessage(conn));
        exit(1);
    }
    run(conn, "SET client_min_messages = warning");
    return conn;
}

static void add(char *array, size_t *len, bool first, const char *element)
{
    int added = snprintf(array + *len, ARRAY_SIZE - *len, "%s%s", first ? "{" : ",", element);

    *len += (size_t)added;
}

static void run_batch(PGconn *conn, const struct job *jobs, size_t count, bool as_arrays)
{
    static const char *const names[] = {"first", "second", "third"};
    char ids[ARRAY_SIZE];
    char counters[ARRAY_SIZE];
    const char *values[2] = {jobs[0].counter, jobs[0].id};
    size_t ids_len = 0;
    size_t counters_len = 0;

    if (as_arrays) {
        for (size_t i = 0; i < count; i++) {
            add(ids, &ids_len, i == 0, jobs[i].id);
            add(counters, &counters_len, i == 0, jobs[i].counter);
        }
        memcpy(ids + ids_len, "}", 2);
        memcpy(counters + counters_len, "}", 2);
        values[0] = counters;
        values[1] = ids;
    }
    run(conn, "BEGIN");
    for (size_t i = 0; i < 3; i++) {
        /* The counter; the counter and the id; the id. */
        PGresult *result = PQexecPrepared(conn, names[i], i == 1 ? 2 : 1,
                                          i == 2 ? values + 1 : values, NULL, NULL, 0);

        check(conn, result);
        if (!as_arrays && strcmp(PQcmdTuples(result), "1") != 0)
            exit(1);
        PQclear(result);
    }
    run(conn, "COMMIT");
}

static void *work(void *context)
{
    static const char *const names[] = {"first", "second", "third"};
    const struct share *share = context;
    PGconn *conn = open_connection(share->url);

    for (size_t i = 0; i < 3; i++) {
        PGresult *result = PQprepare(conn, names[i], share->batch > 1 ? many[i] : one[i], 0, NULL);

        check(conn, result);
        PQclear(result);
    }
    for (size_t at = 0; at < share->count; at += share->batch) {
        size_t left = share->count - at;

        run_batch(conn, share->jobs + at, left < share->batch ? left : share->batch,
                  share->batch > 1);
    }
    PQfinish(conn);
    return NULL;
}

static struct job *make_jobs(const char *url, const char *jobs, const char *counters, size_t count)
{
    struct job *made = calloc(count, sizeof *made);
    PGconn *conn = open_connection(url);
    PGresult *rows;

    for (size_t i = 0; i < sizeof fill / sizeof fill[0]; i++) {
        const char *const values[] = {counters, jobs};
        PGresult *result = strchr(fill[i], '$')
                               ? PQexecParams(conn, fill[i], 2, NULL, values, NULL, NULL, 0)
                               : PQexec(conn, fill[i]);

        check(conn, result);
        PQclear(result);
    }
    rows = PQexec(conn, "SELECT id, args->>0 FROM jobs ORDER BY id");
    check(conn, rows);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(made[i].id, sizeof made[i].id, "%s", PQgetvalue(rows, (int)i, 0));
        (void)snprintf(made[i].counter, sizeof made[i].counter, "%s", PQgetvalue(rows, (int)i, 1));
    }
    PQclear(rows);
    PQfinish(conn);
    return made;
}

static size_t number(const char *text, int64_t max)
{
    int64_t value;

    if (!text_to_int(text, 1, max, &value))
        exit(2);
    return (size_t)value;
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

    if (argc != 5 || !url)
        return 2;
    total = number(argv[1], 10000000);
    count = number(argv[2], CONNECTIONS_MAX);
    jobs = make_jobs(url, argv[1], argv[4], total);
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
    free(jobs);
    return 0;
}
