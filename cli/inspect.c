/* SPDX-License-Identifier: MIT
 *
 * till queue list, till worker list: depth and age of the queues, and who works on them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/jobs_figures.h"
#include "common/limits.h"
#include "common/mem.h"
#include "common/queue.h"
#include "common/task_secrets.h"

static const struct limit *limit_of(const struct limit_list *limits, const char *queue)
{
    for (size_t i = 0; i < limits->count; i++)
        if (limits->items[i].scope == LIMIT_QUEUE && strcmp(limits->items[i].name, queue) == 0)
            return &limits->items[i];
    return NULL;
}

static void print_number(const char *name, int64_t number)
{
    if (number)
        (void)printf(",\"%s\":%" PRId64, name, number);
    else
        (void)printf(",\"%s\":null", name);
}

static void print_limit(const struct cli *cli, const struct limit *limit)
{
    static const struct limit none = {0};
    char rate[LIMIT_RATE_SIZE];

    if (!limit)
        limit = &none;
    limit_rate_text(limit, rate);
    if (cli->json) {
        print_number("concurrency", limit->concurrency);
        (void)printf(",\"rate\":%s%s%s", *rate ? "\"" : "", *rate ? rate : "null",
                     *rate ? "\"" : "");
        print_number("burst", limit->burst);
        return;
    }
    if (limit->concurrency)
        (void)printf("  concurrency %" PRId64, limit->concurrency);
    if (limit->rate)
        (void)printf("  rate %s burst %" PRId64, rate, limit->burst);
}

/* What the streams of a queue hold. Once Redis has not answered it is not asked again. */
static bool measure(struct cli *cli, const char *queue, struct queue_depth *total, struct err *e)
{
    *total = (struct queue_depth){0};
    for (int p = 0; p < JOB_PRIORITY_COUNT && !e->code; p++) {
        struct queue_stream stream = queue_stream_of(queue, (enum job_priority)p);
        struct queue_depth depth = {0};

        (void)!queue_measure(cli_redis(cli), &stream, &depth, e);
        total->waiting += depth.waiting;
        total->pending += depth.pending;
        if (depth.oldest_us && (!total->oldest_us || depth.oldest_us < total->oldest_us))
            total->oldest_us = depth.oldest_us;
    }
    return !e->code;
}

/* A number that is not known is null, or a question mark. */
static void print_known(const struct cli *cli, const char *name, bool is_known, int64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRId64, number);
    if (cli->json)
        (void)printf(",\"%s\":%s", name, is_known ? text : "null");
    else
        (void)printf(" %s %-8s", name, is_known ? text : "?");
}

/* Of the older one, by the row or by the stream, where fast jobs stand alone. */
static int64_t age_of(int64_t row_us, int64_t entry_us)
{
    int64_t oldest_us = entry_us && (!row_us || entry_us < row_us) ? entry_us : row_us;
    int64_t age_us = oldest_us ? clock_wall_us() - oldest_us : 0;

    return age_us > 0 ? age_us / US_PER_S : 0;
}

static void print_queue(struct cli *cli, const struct jobs_queue *queue, const struct limit *limit,
                        struct err *e)
{
    struct queue_depth total;
    bool is_known = measure(cli, queue->name, &total, e);
    int64_t age_s = age_of(queue->oldest_us, total.oldest_us);

    (void)printf(cli->json ? "{\"queue\":\"%s\"" : "%-20s", queue->name);
    print_known(cli, "waiting", is_known, total.waiting);
    print_known(cli, cli->json ? "pending" : "running", is_known, total.pending);
    (void)printf(cli->json ? ",\"parked\":%" PRId64 ",\"scheduled\":%" PRId64 ",\"dead\":%" PRId64
                             ",\"oldest_seconds\":%" PRId64 ",\"paused\":%s"
                           : " parked %-6" PRId64 " scheduled %-6" PRId64 " dead %-6" PRId64
                             " oldest %" PRId64 " s%s",
                 queue->parked.count, queue->scheduled.count, queue->dead.count, age_s,
                 cli->json ? (queue->paused_us ? "true" : "false")
                           : (queue->paused_us ? "  paused" : ""));
    print_limit(cli, limit);
    (void)printf(cli->json ? "}\n" : "\n");
}

/* Adds what workers read, be nothing known of it in PostgreSQL. The names stand in `reports`. */
static void add_read(struct jobs_queues *queues, const struct queue_workers *workers,
                     json_t *reports)
{
    for (size_t i = 0; i < workers->count; i++) {
        const char *text = workers->items[i].report;
        json_t *report = NULL;
        const json_t *names;

        if (!workers->items[i].is_alive || !text ||
            json_read(text, strlen(text), 1024 * 1024, &report, NULL))
            continue;
        (void)json_array_append_new(reports, report);
        names = json_object_get(report, "queues");
        for (size_t k = 0; k < json_array_size(names); k++)
            if (json_is_string(json_array_get(names, k)))
                jobs_queues_add(queues, json_string_value(json_array_get(names, k)));
    }
}

static int run_queues(struct cli *cli)
{
    AUTO_VALUE(queue_workers_release) struct queue_workers workers = {0};
    AUTO(json_decref) json_t *reports = json_array();
    AUTO_VALUE(jobs_queues_release) struct jobs_queues queues = {0};
    AUTO_VALUE(limit_list_release) struct limit_list limits = {0};
    struct err redis = {0};
    struct err e = {0};

    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (jobs_list_queues(cli_db(cli), &queues, &e) || limits_list(cli_db(cli), &limits, &e))
        return cli_fail(&e);
    if (!queue_list_workers(cli_redis(cli), &workers, &redis))
        add_read(&queues, &workers, reports);
    for (size_t i = 0; i < queues.count; i++)
        print_queue(cli, &queues.items[i], limit_of(&limits, queues.items[i].name), &redis);
    return redis.code ? cli_fail(&redis) : EXIT_DONE;
}

const struct command command_queue_list = {
    "queue list", "",
    "lists queues: what waits, runs, is parked under a limit, is scheduled, is dead, the oldest's "
    "age, which are paused "
    "and which limited",
    run_queues};

static json_int_t number(const json_t *report, const char *key)
{
    return json_integer_value(json_object_get(report, key));
}

static void print_worker(const struct queue_worker *worker)
{
    AUTO(json_decref) json_t *report = NULL;
    const json_t *bounds;
    const char *state;
    const char *health;

    if (worker->report)
        (void)!json_read(worker->report, strlen(worker->report), 1024 * 1024, &report, NULL);
    state = json_member_text(report, "state");
    health = json_member_text(report, "health");
    bounds = json_object_get(report, "autoscale");
    (void)printf("%-24s %-10s busy %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT, worker->name,
                 !worker->is_alive ? "offline"
                 : state           ? state
                                   : "online",
                 number(report, "busy"), number(report, "concurrency"));
    if (json_is_array(bounds))
        (void)printf(" (%" JSON_INTEGER_FORMAT "-%" JSON_INTEGER_FORMAT ")",
                     json_integer_value(json_array_get(bounds, 0)),
                     json_integer_value(json_array_get(bounds, 1)));
    (void)printf("  processed %" JSON_INTEGER_FORMAT "  failed %" JSON_INTEGER_FORMAT
                 "  retried %" JSON_INTEGER_FORMAT "  %" JSON_INTEGER_FORMAT
                 " MiB  pid %" JSON_INTEGER_FORMAT,
                 number(report, "processed"), number(report, "failed"), number(report, "retried"),
                 number(report, "rss_bytes") / (1024 * 1024), number(report, "pid"));
    if (worker->is_alive && health && strcmp(health, "ok") != 0)
        (void)printf("  %s", health);
    (void)puts("");
}

static void print_report(const struct queue_worker *worker, const struct db_result *declared)
{
    AUTO(json_decref) json_t *report = NULL;
    AUTO(mem_free) char *text = NULL;

    if (json_read(worker->report, strlen(worker->report), 1024 * 1024, &report, NULL))
        return;
    task_secrets_hide_last_error(declared, report);
    text = json_dumps(report, JSON_COMPACT);
    (void)printf("{\"alive\":%s,\"report\":%s}\n", worker->is_alive ? "true" : "false",
                 text ? text : "null");
}

static int run_workers(struct cli *cli)
{
    AUTO_VALUE(queue_workers_release) struct queue_workers workers = {0};
    AUTO(db_result_free) struct db_result *declared = NULL;
    struct err e = {0};

    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (queue_list_workers(cli_redis(cli), &workers, &e))
        return cli_fail(&e);
    if (cli->json)
        (void)!task_secrets_list(cli_db(cli), &declared, NULL); /* it may be away */
    for (size_t i = 0; i < workers.count; i++) {
        if (cli->json && workers.items[i].report)
            print_report(&workers.items[i], declared);
        else
            print_worker(&workers.items[i]);
    }
    return EXIT_DONE;
}

const struct command command_worker_list = {
    "worker list", "", "lists worker processes of the last day, with what they do", run_workers};
