/* SPDX-License-Identifier: MIT
 *
 * till enqueue: puts durable jobs into the table, some thousand in a statement, and their ids into
 * the stream; or, with --fast, fast jobs into the stream alone. The lines of --batch are all
 * accepted, or none; --count commits each statement.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/jobs.h"
#include "cli/lines.h"
#include "cli/options.h"
#include "cli/wait.h"
#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/jobs.h"
#include "common/jobs_heal.h"
#include "common/mem.h"
#include "common/queue.h"
#include "common/queue_fast.h"
#include "common/text.h"

enum {
    COUNT_MAX = 1000000,
    STATEMENT_JOBS = 5000,
    /* A quarter of what a statement takes: quoting may double it. */
    STATEMENT_BYTES = JOBS_INSERT_BYTES / 4,
};

struct order_of_jobs {
    struct job_new job;
    char *headers; /* owned; job.headers */
    size_t count;
    const char *batch;  /* file of args, one job a line, or NULL */
    struct lines lines; /* owned */
    bool countdown;     /* job.scheduled_us is by this machine's clock, so far */
    bool expires_in;    /* and job.expires_us */
    bool fast;          /* stream entries alone */
    bool wait;
    int64_t timeout_s; /* 0: none */
};

static void order_release(struct order_of_jobs *order)
{
    lines_release(&order->lines);
    mem_free(order->headers);
}

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

static int read_time(struct cli *cli, struct order_of_jobs *order)
{
    struct job_new *job = &order->job;
    const char *eta = cli_option(cli, "eta");
    const char *countdown = cli_option(cli, "countdown");
    int64_t us;

    if (eta && countdown)
        return cli_usage("--eta and --countdown exclude each other");
    if (eta && !clock_parse(eta, &job->scheduled_us))
        return cli_usage("--eta is no RFC 3339 time, such as 2026-12-24T18:00:00Z");
    if (countdown) {
        if (!read_seconds(countdown, &us))
            return cli_usage("--countdown is a number of seconds up to ten years, such as 90 or "
                             "0.5");
        job->scheduled_us = clock_wall_us() + us;
        order->countdown = true;
    }
    return EXIT_DONE;
}

static int read_wait(struct cli *cli, struct order_of_jobs *order)
{
    const char *timeout = cli_option(cli, "timeout");

    order->wait = cli_flag(cli, "wait");
    if (timeout && !order->wait)
        return cli_usage("--timeout belongs to --wait");
    if (timeout && !text_to_int(timeout, 1, INT64_C(366) * 86400, &order->timeout_s))
        return cli_usage("--timeout is a number of seconds, at least 1");
    order->fast = cli_flag(cli, "fast");
    if (order->wait && (order->count > 1 || order->batch || order->fast))
        return cli_usage("--wait is for a single job that is not --fast");
    return EXIT_DONE;
}

static int read_count(struct cli *cli, struct order_of_jobs *order)
{
    const char *count = cli_option(cli, "count");
    int64_t number = 1;

    order->batch = cli_option(cli, "batch");
    if (count && order->batch)
        return cli_usage("--count and --batch exclude each other");
    if (count && !text_to_int(count, 1, COUNT_MAX, &number))
        return cli_usage("--count is a number from 1 to %d", COUNT_MAX);
    order->count = (size_t)number;
    return read_wait(cli, order);
}

static int read_words(struct cli *cli, struct order_of_jobs *order)
{
    struct job_new *job = &order->job;
    const char *priority = cli_option(cli, "priority");
    const char *attempts = cli_option(cli, "max-attempts");
    const char *id = cli_option(cli, "id");
    int64_t number = 0;
    int code = read_count(cli, order);

    if (code != EXIT_DONE)
        return code;
    job->queue = cli_option(cli, "queue");
    job->kwargs = cli_option(cli, "kwargs");
    job->priority = JOB_PRIORITY_NORMAL;
    if (priority && (code = read_priority(priority, &job->priority)) != EXIT_DONE)
        return code;
    if (attempts && !text_to_int(attempts, 1, 1000, &number))
        return cli_usage("--max-attempts is a number from 1 to 1000");
    job->max_attempts = (int)number;
    if (id && (order->count > 1 || order->batch || !uuid_parse(id, &job->id)))
        return cli_usage("--id is the UUID of a single job");
    code = read_time(cli, order);
    if (code == EXIT_DONE)
        code = read_options(cli, job, &order->headers, &order->expires_in);
    if (code != EXIT_DONE)
        return code;
    job->task = cli_word(cli);
    job->args = order->batch ? NULL : cli_word(cli);
    if (!job->task)
        return cli_usage("enqueue needs the name of a task");
    return cli_is_done(cli) ? EXIT_DONE : EXIT_USAGE;
}

static struct job_new job_at(const struct order_of_jobs *order, size_t at)
{
    struct job_new job = order->job;

    if (order->batch)
        job.args = order->lines.items[at];
    return job;
}

/* Times are PostgreSQL's: what was told as seconds from now is from its now, whatever the clock of
 * this machine says. */
static enum err_code use_servers_clock(struct cli *cli, struct order_of_jobs *order, struct err *e)
{
    int64_t server_us = 0;
    int64_t ahead_us;
    enum err_code rc;

    if (!order->countdown && !order->expires_in)
        return ERR_OK;
    rc = jobs_server_time(cli_db(cli), &server_us, e);
    if (rc)
        return rc;
    ahead_us = server_us - clock_wall_us();
    if (order->countdown)
        order->job.scheduled_us += ahead_us;
    if (order->expires_in)
        order->job.expires_us += ahead_us;
    return ERR_OK;
}

/* Reads the lines and checks every one, so that a bad one is named before anything happens. */
static enum err_code read_batch(struct order_of_jobs *order, struct err *e)
{
    enum err_code rc = jobs_check(&order->job, e);

    if (!rc && order->batch) {
        rc = lines_read(order->batch, &order->lines, e);
        order->count = order->lines.count;
    }
    for (size_t i = 0; i < order->lines.count && !rc; i++) {
        struct job_new job = job_at(order, i);
        struct err bad = {0};

        rc = jobs_check(&job, &bad);
        if (rc)
            rc = err_set(e, rc, "line %zu: %.170s", i + 1, bad.text);
    }
    return rc;
}

/* How many of the jobs from `from` on go into one statement. */
static size_t count_of_statement(const struct order_of_jobs *order, size_t from)
{
    size_t count = 0;
    size_t bytes = 0;

    while (from + count < order->count && count < STATEMENT_JOBS) {
        struct job_new job = job_at(order, from + count);

        bytes += (job.args ? strlen(job.args) : 0) + (job.kwargs ? strlen(job.kwargs) : 0);
        if (count > 0 && bytes > STATEMENT_BYTES)
            break;
        count++;
    }
    return count;
}

/* What became of the jobs: the id of each to be printed, and those that have to be pushed. All of a
 * command have one task and one priority, so one stream. */
struct added {
    struct uuid *ids;    /* owned, like the next two */
    struct uuid *pushed; /* a part of them */
    unsigned char *outcomes;
    size_t count;
    size_t pushed_count;
    struct queue_stream stream; /* when something has to be pushed */
};

static void added_init(struct added *added, size_t count)
{
    *added = (struct added){.ids = mem_array(count + 1, sizeof added->ids[0]),
                            .pushed = mem_array(count + 1, sizeof added->pushed[0]),
                            .outcomes = mem_array(count + 1, sizeof added->outcomes[0])};
}

static void added_release(struct added *added)
{
    mem_free(added->ids);
    mem_free(added->pushed);
    mem_free(added->outcomes);
}

static void note_added(struct added *added, const struct job_ready *ready)
{
    added->ids[added->count] = ready->id;
    added->outcomes[added->count++] = (unsigned char)ready->outcome;
    if (!ready->is_ready)
        return;
    if (added->pushed_count == 0)
        added->stream = queue_stream_of(ready->queue, ready->priority);
    added->pushed[added->pushed_count++] = ready->id;
}

static enum err_code insert(struct cli *cli, const struct order_of_jobs *order, size_t from,
                            size_t count, struct added *added, struct err *e)
{
    AUTO(mem_free) struct job_new *jobs = mem_array(count, sizeof *jobs);
    AUTO(mem_free) struct job_ready *ready = mem_array(count, sizeof *ready);
    enum err_code rc;

    for (size_t i = 0; i < count; i++)
        jobs[i] = job_at(order, from + i);
    rc = jobs_insert_many(cli_db(cli), jobs, count, ready, e);
    for (size_t i = 0; i < count && !rc; i++)
        note_added(added, &ready[i]);
    return rc;
}

static void print_added(const struct cli *cli, const struct order_of_jobs *order,
                        const struct added *added, size_t at)
{
    static const char *const outcomes[] = {
        [JOB_ADDED] = "added", [JOB_KEPT] = "kept", [JOB_REPLACED] = "replaced"};
    const char *id = added->ids[at].text;

    if (!cli->json)
        (void)printf("%s\n", id);
    else if (order->job.unique_key)
        (void)printf("{\"id\":\"%s\",\"outcome\":\"%s\"}\n", id, outcomes[added->outcomes[at]]);
    else
        (void)printf("{\"id\":\"%s\"}\n", id);
}

/* Pushes committed jobs and prints their ids; nothing is left in `added`. */
static void deliver(struct cli *cli, const struct order_of_jobs *order, struct added *added)
{
    struct err push = {0};

    CRASH_POINT("enqueue.committed");
    if (added->pushed_count > 0 &&
        queue_push(cli_redis(cli), &added->stream, added->pushed, added->pushed_count, &push))
        (void)fprintf(stderr, "till: %s; the scheduler delivers the jobs later\n", push.text);
    CRASH_POINT("enqueue.pushed");
    for (size_t i = 0; i < added->count; i++)
        print_added(cli, order, added, i);
    (void)fflush(stdout);
    added->count = added->pushed_count = 0;
}

/* Each statement is committed by itself. */
static enum err_code enqueue(struct cli *cli, const struct order_of_jobs *order,
                             struct added *added, struct err *e)
{
    enum err_code rc = ERR_OK;

    for (size_t done = 0; done < order->count && !rc;) {
        size_t count = count_of_statement(order, done);

        rc = insert(cli, order, done, count, added, e);
        if (!rc)
            deliver(cli, order, added);
        done += count;
    }
    return rc;
}

/* All or none. ret_undone: as db_was_undone() says. */
static enum err_code insert_batch(struct cli *cli, const struct order_of_jobs *order,
                                  struct added *added, bool *ret_undone, struct err *e)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    enum err_code rc = db_begin(cli_db(cli), &tx, e);

    for (size_t done = 0; done < order->count && !rc;) {
        size_t count = count_of_statement(order, done);

        rc = insert(cli, order, done, count, added, e);
        done += count;
    }
    if (!rc) {
        CRASH_POINT("enqueue.before_commit");
        rc = db_commit(&tx, e);
    }
    *ret_undone = rc && db_was_undone(cli_db(cli));
    return rc;
}

static enum err_code enqueue_batch(struct cli *cli, const struct order_of_jobs *order,
                                   struct added *added, struct err *e)
{
    enum err_code rc = ERR_OK;
    bool undone = true;

    for (int tries = 0; undone && tries < DB_TRIES; tries++) {
        err_clear(e);
        added->count = added->pushed_count = 0;
        rc = insert_batch(cli, order, added, &undone, e);
    }
    if (!rc)
        deliver(cli, order, added);
    return rc;
}

/* Entries of a stream, without a row: only for a task that is declared fast. */
static enum err_code enqueue_fast(struct cli *cli, const struct order_of_jobs *order,
                                  struct added *added, struct err *e)
{
    AUTO(mem_free) struct job_new *jobs = mem_array(STATEMENT_JOBS, sizeof *jobs);
    char queue[JOB_NAME_MAX + 1] = "";
    enum err_code rc = jobs_find_fast_task(cli_db(cli), order->job.task, queue, e);
    struct queue_stream stream =
        queue_stream_of(order->job.queue ? order->job.queue : queue, order->job.priority);

    for (size_t from = 0; from < order->count && !rc; from += added->count) {
        size_t left = order->count - from;

        added->count = left < STATEMENT_JOBS ? left : STATEMENT_JOBS;
        for (size_t i = 0; i < added->count; i++)
            jobs[i] = job_at(order, from + i);
        rc = queue_push_fast(cli_redis(cli), &stream, jobs, added->count, added->ids, e);
        CRASH_POINT("enqueue.fast_pushed");
        for (size_t i = 0; i < added->count && !rc; i++)
            print_added(cli, order, added, i);
    }
    return rc;
}

static int fail(struct cli *cli, const struct err *e)
{
    if (e->code != ERR_CONFLICT || strcmp(db_constraint(cli_db(cli)), "jobs_pkey") != 0)
        return cli_fail(e);
    return cli_fail(&(struct err){.code = e->code, .text = "a job with this id exists already"});
}

static int run_enqueue(struct cli *cli)
{
    AUTO_VALUE(order_release) struct order_of_jobs order = {0};
    AUTO_VALUE(added_release) struct added added = {0};
    struct uuid first;
    struct err e = {0};
    int code = read_words(cli, &order);

    if (code != EXIT_DONE)
        return code;
    if (read_batch(&order, &e) || use_servers_clock(cli, &order, &e))
        return cli_fail(&e);
    added_init(&added, order.count);
    if (order.fast    ? enqueue_fast(cli, &order, &added, &e)
        : order.batch ? enqueue_batch(cli, &order, &added, &e)
                      : enqueue(cli, &order, &added, &e))
        return fail(cli, &e);
    note_unknown_task(cli, order.job.task);
    first = added.ids[0];
    return order.wait ? wait_for_job(cli, &first, order.timeout_s) : EXIT_DONE;
}

const struct command command_enqueue = {
    "enqueue",
    "TASK [ARGS] [--kwargs JSON] [--queue Q] [--priority high|normal|low] [--eta T | --countdown S]"
    " [--count N | --batch FILE] [--max-attempts N] [--id UUID] [--fast]" OPTIONS_USAGE
    " [--wait [--timeout S]]",
    "adds durable jobs and prints their ids; ARGS is a JSON array. --batch takes one such array a"
    " line ('-': standard input), all or none. --unique prints the id of the job that holds the key"
    " when there is one. --wait waits for the end and prints state and result. --fast, for a task "
    "that"
    " is declared so, adds entries to the stream and no rows",
    run_enqueue};
