/* SPDX-License-Identifier: MIT
 *
 * till bench: what the system that runs here does with no-ops, through the workers that are there:
 * how many are enqueued and ended in a second, with rows and without, and how long one alone takes.
 * `make bench` measures beside the limits of the machine; this tells an operator what he has.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/wait.h"
#include "common/clock.h"
#include "common/jobs.h"
#include "common/mem.h"
#include "common/queue.h"
#include "common/queue_fast.h"
#include "common/text.h"
#include "common/trial.h"

enum {
    COUNT_DEFAULT = 20000,
    COUNT_MAX = 1000000,
    ALONE_JOBS = 100, /* one after the other */
    STATEMENT_JOBS = 5000,
    TIMEOUT_DEFAULT_S = 60,
    KEPT_S = 3600, /* the rows of what is measured */
};
#define TASK "till.tasks.noop"
#define ALONE_PAUSE_US (1 * US_PER_MS)
#define MANY_PAUSE_US (50 * US_PER_MS)

struct bench {
    struct cli *cli;
    const char *queue;
    size_t count;
    int64_t timeout_s;
    struct uuid *ids; /* owned */
};

struct figures {
    double durable_enqueued; /* a second, like the next three */
    double durable_ended;
    double fast_enqueued;
    double fast_ended;
    struct trial_times alone;
};

static void bench_release(struct bench *bench) { mem_free(bench->ids); }

static double rate(size_t count, int64_t us) { return (double)count * 1e6 / (double)(us + 1); }

static struct job_new noop_for(const struct bench *bench)
{
    return (struct job_new){.task = TASK, .queue = bench->queue, .priority = JOB_PRIORITY_NORMAL};
}

static enum err_code too_late(const struct bench *bench, int64_t left, struct err *e)
{
    return err_set(
        e, ERR_TIMEOUT,
        "%" PRId64 " no-ops have not ended after %" PRId64
        " s: does a worker take queue \"%s\" (till worker list), and is it not paused or "
        "limited (till queue list)? They stay there",
        left, bench->timeout_s, bench->queue);
}

/* ---- with rows ---- */

static enum err_code add_durable(const struct bench *bench, struct uuid *ids, size_t count,
                                 struct err *e)
{
    AUTO(mem_free) struct job_new *jobs = mem_array(count, sizeof *jobs);
    AUTO(mem_free) struct job_ready *ready = mem_array(count, sizeof *ready);
    struct queue_stream stream = queue_stream_of(bench->queue, JOB_PRIORITY_NORMAL);
    enum err_code rc;

    for (size_t i = 0; i < count; i++) {
        jobs[i] = noop_for(bench);
        jobs[i].retention_s = KEPT_S;
    }
    rc = jobs_insert_many(cli_db(bench->cli), jobs, count, ready, e);
    for (size_t i = 0; i < count && !rc; i++)
        ids[i] = ready[i].id;
    return rc ? rc : queue_push(cli_redis(bench->cli), &stream, ids, count, e);
}

static enum err_code wait_durable(const struct bench *bench, const struct uuid *ids, size_t count,
                                  int64_t pause_us, struct trial_times *ret_times, struct err *e)
{
    int64_t deadline_us = clock_mono_us() + bench->timeout_s * US_PER_S;

    for (;;) {
        enum err_code rc = trial_time(cli_db(bench->cli), ids, count, ret_times, e);

        if (rc || ret_times->open == 0)
            return rc;
        if (clock_mono_us() > deadline_us)
            return too_late(bench, ret_times->open, e);
        wait_pause(pause_us);
    }
}

static enum err_code measure_durable(const struct bench *bench, struct figures *figures,
                                     struct err *e)
{
    int64_t began_us = clock_mono_us();
    struct trial_times times = {0};
    enum err_code rc = ERR_OK;

    for (size_t done = 0; done < bench->count && !rc;) {
        size_t left = bench->count - done;
        size_t count = left < STATEMENT_JOBS ? left : STATEMENT_JOBS;

        rc = add_durable(bench, bench->ids + done, count, e);
        done += count;
    }
    figures->durable_enqueued = rate(bench->count, clock_mono_us() - began_us);
    if (!rc)
        rc = wait_durable(bench, bench->ids, bench->count, MANY_PAUSE_US, &times, e);
    if (!rc)
        figures->durable_ended = rate(bench->count, times.all_us);
    return rc;
}

static enum err_code measure_alone(const struct bench *bench, struct figures *figures,
                                   struct err *e)
{
    struct uuid ids[ALONE_JOBS];
    struct trial_times times = {0};
    enum err_code rc = ERR_OK;

    for (size_t i = 0; i < ALONE_JOBS && !rc; i++) {
        rc = add_durable(bench, &ids[i], 1, e);
        if (!rc)
            rc = wait_durable(bench, &ids[i], 1, ALONE_PAUSE_US, &times, e);
    }
    return rc ? rc : trial_time(cli_db(bench->cli), ids, ALONE_JOBS, &figures->alone, e);
}

/* ---- without ---- */

static enum err_code count_entries(const struct bench *bench, const struct queue_stream *stream,
                                   int64_t *ret_count, struct err *e)
{
    struct queue_depth depth = {0};
    enum err_code rc = queue_measure(cli_redis(bench->cli), stream, &depth, e);

    *ret_count = depth.waiting + depth.pending;
    return rc;
}

/* Entries tell by being gone that they have ended, so others of the queue are counted with them. */
static enum err_code measure_fast(const struct bench *bench, struct figures *figures, struct err *e)
{
    AUTO(mem_free) struct job_new *jobs = mem_array(STATEMENT_JOBS, sizeof *jobs);
    struct queue_stream stream = queue_stream_of(bench->queue, JOB_PRIORITY_NORMAL);
    int64_t before = 0;
    int64_t left = 0;
    enum err_code rc = count_entries(bench, &stream, &before, e);
    int64_t began_us = clock_mono_us();

    for (size_t i = 0; i < STATEMENT_JOBS; i++)
        jobs[i] = noop_for(bench);
    for (size_t done = 0; done < bench->count && !rc;) {
        size_t rest = bench->count - done;
        size_t count = rest < STATEMENT_JOBS ? rest : STATEMENT_JOBS;

        rc = queue_push_fast(cli_redis(bench->cli), &stream, jobs, count, NULL, e);
        done += count;
    }
    figures->fast_enqueued = rate(bench->count, clock_mono_us() - began_us);
    while (!rc && !(rc = count_entries(bench, &stream, &left, e)) && left > before) {
        if (clock_mono_us() > began_us + bench->timeout_s * US_PER_S)
            return too_late(bench, left - before, e);
        wait_pause(ALONE_PAUSE_US);
    }
    figures->fast_ended = rate(bench->count, clock_mono_us() - began_us);
    return rc;
}

/* ---- the verb ---- */

static void print_figures(const struct cli *cli, const struct figures *f)
{
    const struct trial_times *t = &f->alone;

    if (cli->json) {
        (void)printf("{\"durable_enqueued\":%.0f,\"durable_ended\":%.0f,\"fast_enqueued\":%.0f,"
                     "\"fast_ended\":%.0f,\"start_us\":[%" PRId64 ",%" PRId64 ",%" PRId64
                     "],\"end_us\":[%" PRId64 ",%" PRId64 ",%" PRId64 "]}\n",
                     f->durable_enqueued, f->durable_ended, f->fast_enqueued, f->fast_ended,
                     t->start_us[0], t->start_us[1], t->start_us[2], t->end_us[0], t->end_us[1],
                     t->end_us[2]);
        return;
    }
    (void)printf("no-ops a second                 enqueued      ended\n"
                 "durable (with a row)          %10.0f %10.0f\n"
                 "fast (a stream entry alone)   %10.0f %10.0f\n"
                 "one durable job at a time, ms        p50        p95        p99\n"
                 "from its INSERT to its start  %10.2f %10.2f %10.2f\n"
                 "from its INSERT to its end    %10.2f %10.2f %10.2f\n",
                 f->durable_enqueued, f->durable_ended, f->fast_enqueued, f->fast_ended,
                 (double)t->start_us[0] / 1e3, (double)t->start_us[1] / 1e3,
                 (double)t->start_us[2] / 1e3, (double)t->end_us[0] / 1e3,
                 (double)t->end_us[1] / 1e3, (double)t->end_us[2] / 1e3);
}

static int run_bench(struct cli *cli)
{
    const char *count = cli_option(cli, "count");
    const char *queue = cli_option(cli, "queue");
    const char *timeout = cli_option(cli, "timeout");
    AUTO_VALUE(bench_release)
    struct bench bench = {
        .cli = cli, .queue = queue ? queue : JOB_DEFAULT_QUEUE, .timeout_s = TIMEOUT_DEFAULT_S};
    struct figures figures = {0};
    struct err e = {0};
    int64_t number = COUNT_DEFAULT;

    if (count && !text_to_int(count, 1, COUNT_MAX, &number))
        return cli_usage("--count is a number from 1 to %d", COUNT_MAX);
    if (timeout && !text_to_int(timeout, 1, 86400, &bench.timeout_s))
        return cli_usage("--timeout is a number of seconds, at least 1");
    if (!text_is_name(bench.queue))
        return cli_usage("--queue is no name of a queue");
    if (!cli_is_done(cli))
        return EXIT_USAGE;
    bench.count = (size_t)number;
    bench.ids = mem_array(bench.count, sizeof *bench.ids);
    if (measure_alone(&bench, &figures, &e) || measure_durable(&bench, &figures, &e) ||
        measure_fast(&bench, &figures, &e))
        return cli_fail(&e);
    print_figures(cli, &figures);
    return EXIT_DONE;
}

const struct command command_bench = {
    "bench", "[--count N] [--queue Q] [--timeout S]",
    "measures the system that runs: so many no-ops (20000) go through its workers, with rows and "
    "without, and 100 one at a time. The rows are pruned after an hour",
    run_bench};
