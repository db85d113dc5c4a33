/* SPDX-License-Identifier: MIT
 *
 * till enqueue: puts durable jobs into the table and their ids into the stream.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "common/clock.h"
#include "common/jobs.h"
#include "common/queue.h"
#include "common/text.h"

enum { ENQUEUE_BATCH = 500 };

struct order_of_jobs {
    struct job_new job;
    int64_t count;
};

static int read_priority(const char *name, enum job_priority *ret_priority)
{
    for (int i = 0; i < JOB_PRIORITY_COUNT; i++) {
        if (strcmp(name, queue_priority_name((enum job_priority)i)) == 0) {
            *ret_priority = (enum job_priority)i;
            return EXIT_DONE;
        }
    }
    return cli_usage("--priority is high, normal or low");
}

static int read_time(struct cli *cli, struct job_new *job)
{
    const char *eta = cli_option(cli, "eta");
    const char *countdown = cli_option(cli, "countdown");
    int64_t seconds;

    if (eta && countdown)
        return cli_usage("--eta and --countdown exclude each other");
    if (eta && !clock_parse(eta, &job->scheduled_us))
        return cli_usage("--eta is no RFC 3339 time, such as 2026-12-24T18:00:00Z");
    if (countdown) {
        if (!text_to_int(countdown, 0, INT64_C(10) * 366 * 86400, &seconds))
            return cli_usage("--countdown is a number of seconds");
        job->scheduled_us = clock_wall_us() + seconds * US_PER_S;
    }
    return EXIT_DONE;
}

static int read_words(struct cli *cli, struct order_of_jobs *order)
{
    struct job_new *job = &order->job;
    const char *priority = cli_option(cli, "priority");
    const char *count = cli_option(cli, "count");
    const char *attempts = cli_option(cli, "max-attempts");
    const char *id = cli_option(cli, "id");
    int64_t number = 0;
    int code;

    job->queue = cli_option(cli, "queue");
    job->kwargs = cli_option(cli, "kwargs");
    job->priority = JOB_PRIORITY_NORMAL;
    if (priority && (code = read_priority(priority, &job->priority)) != EXIT_DONE)
        return code;
    if (count && !text_to_int(count, 1, 1000000, &order->count))
        return cli_usage("--count is a number from 1 to 1000000");
    if (attempts && !text_to_int(attempts, 1, 1000, &number))
        return cli_usage("--max-attempts is a number from 1 to 1000");
    job->max_attempts = (int)number;
    if (id && (order->count > 1 || !uuid_parse(id, &job->id)))
        return cli_usage("--id is the UUID of a single job");
    code = read_time(cli, job);
    if (code != EXIT_DONE)
        return code;
    job->task = cli_word(cli);
    job->args = cli_word(cli);
    if (!job->task)
        return cli_usage("enqueue needs the name of a task");
    return cli_is_done(cli) ? EXIT_DONE : EXIT_USAGE;
}

/* Inserts up to ENQUEUE_BATCH jobs in one transaction, then pushes those that are ready. */
static enum err_code enqueue_batch(struct cli *cli, const struct order_of_jobs *order,
                                   int64_t count, struct err *e)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    struct uuid ids[ENQUEUE_BATCH];
    struct job_ready ready = {0};
    struct queue_stream stream;
    struct err push = {0};
    enum err_code rc = db_begin(cli_db(cli), &tx, e);

    for (int64_t i = 0; i < count && !rc; i++) {
        rc = jobs_insert(cli_db(cli), &order->job, &ready, e);
        ids[i] = ready.id;
    }
    if (!rc)
        rc = db_commit(&tx, e);
    if (rc)
        return rc;
    stream = queue_stream_of(ready.queue, ready.priority);
    if (ready.is_ready &&
        queue_push(cli_redis(cli), &stream, ids, (size_t)count, &push)) /* not lost: accepted */
        (void)fprintf(stderr, "till: %s; the scheduler delivers the jobs later\n", push.text);
    for (int64_t i = 0; i < count; i++)
        (void)printf(cli->json ? "{\"id\":\"%s\"}\n" : "%s\n", ids[i].text);
    return ERR_OK;
}

static int run_enqueue(struct cli *cli)
{
    struct order_of_jobs order = {.count = 1};
    struct err e = {0};
    int code = read_words(cli, &order);

    for (int64_t left = order.count; code == EXIT_DONE && left > 0; left -= ENQUEUE_BATCH)
        if (enqueue_batch(cli, &order, left < ENQUEUE_BATCH ? left : ENQUEUE_BATCH, &e))
            code = cli_fail(&e);
    return code;
}

const struct command command_enqueue = {
    "enqueue",
    "TASK [ARGS] [--kwargs JSON] [--queue Q] [--priority high|normal|low] [--eta T | --countdown S]"
    " [--count N] [--max-attempts N] [--id UUID]",
    "adds durable jobs and prints their ids; ARGS is a JSON array", run_enqueue};
