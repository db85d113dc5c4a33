/* SPDX-License-Identifier: MIT
 *
 * till task list, till task show: what the dashboard shows, in the shell.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/jobs.h"
#include "common/clock.h"
#include "common/job_json.h"
#include "common/json.h"
#include "common/jobs_view.h"
#include "common/mem.h"
#include "common/text.h"

/* What is looked for, and in which order. */
static int read_order(struct cli *cli, struct job_search *search, struct jobs_filter *filter)
{
    const char *words = cli_option(cli, "search");
    const char *order = cli_option(cli, "order");
    const char *due_from = cli_option(cli, "due-from");
    const char *due_to = cli_option(cli, "due-to");
    struct err e = {0};

    if (jobs_filter_order(order, filter, &e))
        return cli_usage("--%s", e.text);
    if (due_from && !clock_parse(due_from, &filter->due_from_us))
        return cli_usage("--due-from is no RFC 3339 time, such as 2026-12-24T18:00:00Z");
    if (due_to && !clock_parse(due_to, &filter->due_to_us))
        return cli_usage("--due-to is no RFC 3339 time, such as 2026-12-24T18:00:00Z");
    if (words && job_search_take(words, search, filter, &e))
        return cli_usage("--search: %s", e.text);
    return EXIT_DONE;
}

static int read_filter(struct cli *cli, struct job_search *search, struct jobs_filter *filter)
{
    const char *state = cli_option(cli, "state");
    const char *limit = cli_option(cli, "limit");
    enum job_state parsed;
    int64_t number = 20;
    int code;

    *filter = (struct jobs_filter){.state = JOBS_ANY_STATE,
                                   .task = cli_option(cli, "task"),
                                   .queue = cli_option(cli, "queue"),
                                   .worker = cli_option(cli, "worker"),
                                   .cursor = cli_option(cli, "after")};
    code = check_job_names(filter->task, filter->queue);
    if (code == EXIT_DONE)
        code = read_order(cli, search, filter);
    if (code != EXIT_DONE)
        return code;
    if (filter->worker && !text_is_utf8(filter->worker, strlen(filter->worker)))
        return cli_usage("--worker is a name as till worker list has it");
    if (state && !job_state_parse(state, &parsed))
        return cli_usage("--state is PENDING, STARTED, RETRY, SUCCESS, FAILURE or REVOKED");
    if (state)
        filter->state = (int)parsed;
    if (limit && !text_to_int(limit, 1, JOBS_LIMIT_MAX, &number))
        return cli_usage("--limit is a number from 1 to %d", JOBS_LIMIT_MAX);
    filter->limit = (int)number;
    return cli_is_done(cli) ? EXIT_DONE : EXIT_USAGE;
}

static int run_list(struct cli *cli)
{
    AUTO_VALUE(job_search_release) struct job_search search = {0};
    struct jobs_filter filter;
    int code = read_filter(cli, &search, &filter);

    return code == EXIT_DONE ? print_jobs(cli, &filter) : code;
}

const struct command command_task_list = {
    "task list",
    "[--state S] [--task T] [--queue Q] [--worker W] [--search WORDS]"
    " [--order newest|oldest|due|slowest|fastest] [--due-from T] [--due-to T] [--limit N]"
    " [--after CURSOR]",
    "lists jobs, newest first; those that are due are what waits for its time; with --json one"
    " object a line",
    run_list};

static void print_time(const char *label, int64_t us)
{
    char text[CLOCK_TEXT_SIZE];

    if (us == 0)
        return;
    clock_format(us, text);
    (void)printf("%-10s %s\n", label, text);
}

static void print_text(const char *label, const char *text)
{
    if (text && *text)
        (void)printf("%-10s %s\n", label, text);
}

/* Redacted, like all that is shown of a job. */
static void print_shown(const char *label, const struct job_shown *shown, const char *text)
{
    AUTO(json_decref) json_t *visible = job_shown_text(shown, text);

    print_text(label, json_string_value(visible));
}

static void print_parked(const struct job_shown *shown, const char *parked_on)
{
    AUTO(json_decref) json_t *visible = job_shown_parked(shown, parked_on);

    print_text("parked on", json_string_value(visible));
}

static void print_headers(const struct job_shown *shown, const char *text)
{
    AUTO(json_decref) json_t *headers = job_shown_value(shown, text);
    const char *name;
    json_t *value;

    json_object_foreach(headers, name, value)
    {
        (void)printf("%-10s %s: %s\n", "header", name, json_string_value(value));
    }
}

static void print_progress(const struct job_shown *shown, const struct job_progress_view *progress)
{
    AUTO(json_decref) json_t *text = job_shown_text(shown, progress->text);

    if (!progress->text)
        return;
    (void)printf("%-10s %" PRId64, "progress", progress->done);
    if (progress->total)
        (void)printf(" of %" PRId64, progress->total);
    (void)printf("%s%s\n", *progress->text ? ": " : "", json_string_value(text));
}

static void print_checkpoint(const struct job_shown *shown, const char *checkpoint)
{
    AUTO(json_decref) json_t *value = job_shown_value(shown, checkpoint);
    AUTO(mem_free) char *text = checkpoint ? json_write(value) : NULL;

    print_text("checkpoint", text);
}

static void print_failure(const struct job_shown *shown, const struct job_failure *failure)
{
    AUTO(json_decref) json_t *error = job_shown_text(shown, failure->error);
    AUTO(json_decref) json_t *detail = job_shown_text(shown, failure->detail);
    const char *more = json_string_value(detail);

    (void)printf("attempt %d  %s%s%s%s\n", failure->attempt, json_string_value(error),
                 more ? " (" : "", more ? more : "", more ? ")" : "");
}

static void print_detail(const struct job_detail *detail)
{
    const struct job_view *job = &detail->job;
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};

    job_shown_make(job, &shown);
    (void)printf("%-10s %s\n%-10s %s\n%-10s %s\n%-10s %d of %d\n", "id", job->id.text, "task",
                 job->task, "state", job_state_name(job->state), "attempt", job->attempt,
                 job->max_attempts);
    if (detail->snoozes > 0)
        (void)printf("%-10s %d\n", "snoozes", detail->snoozes);
    print_progress(&shown, &detail->progress);
    print_checkpoint(&shown, detail->checkpoint);
    print_text("queue", job->queue);
    print_text("worker", job->worker);
    print_text("flow", job->flow);
    print_text("waits", job->waits ? "for others of its flow" : NULL);
    print_time("created", job->created_us);
    print_time("scheduled", job->scheduled_us);
    print_time("started", job->started_us);
    print_time("finished", job->finished_us);
    print_time("expires", job->expires_us);
    print_shown("unique", &shown, job->unique_key);
    print_shown("limit key", &shown, job->limit_key);
    print_parked(&shown, job->parked_on);
    print_time("held until", job->unique_until_us);
    print_headers(&shown, job->headers);
    print_text("trace", job->traceparent);
    if (job->retention_s)
        (void)printf("%-10s %" PRId64 " s\n", "retention", job->retention_s);
    print_text("error", shown.error);
    for (size_t i = 0; i < detail->failure_count; i++)
        print_failure(&shown, &detail->failures[i]);
}

static int run_show(struct cli *cli)
{
    AUTO_VALUE(job_detail_release) struct job_detail detail = {0};
    const char *word = cli_word(cli);
    struct err e = {0};
    struct uuid id;

    if (!word || !uuid_parse(word, &id))
        return cli_usage("task show needs the UUID of a job");
    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (jobs_find(cli_db(cli), &id, &detail, &e))
        return cli_fail(&e);
    if (cli->json)
        return print_json(job_detail_json(&detail));
    print_detail(&detail);
    return EXIT_DONE;
}

const struct command command_task_show = {
    "task show", "UUID", "shows one job with every attempt and its error", run_show};
