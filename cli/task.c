/* SPDX-License-Identifier: MIT
 *
 * till task list, till task show: what the dashboard shows, in the shell.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "common/clock.h"
#include "common/job_json.h"
#include "common/jobs_view.h"
#include "common/mem.h"
#include "common/text.h"

static int print_json(json_t *take_value)
{
    AUTO(json_decref) json_t *value = take_value;
    char *text = value ? json_write(value) : NULL;

    if (!text)
        return cli_fail(&(struct err){.code = ERR_NOMEM, .text = "out of memory"});
    (void)puts(text);
    mem_free(text);
    return EXIT_DONE;
}

static int read_filter(struct cli *cli, struct jobs_filter *filter)
{
    const char *state = cli_option(cli, "state");
    const char *limit = cli_option(cli, "limit");
    enum job_state parsed;
    int64_t number = 20;

    *filter = (struct jobs_filter){.state = JOBS_ANY_STATE,
                                   .task = cli_option(cli, "task"),
                                   .queue = cli_option(cli, "queue"),
                                   .worker = cli_option(cli, "worker"),
                                   .cursor = cli_option(cli, "after")};
    if (state && !job_state_parse(state, &parsed))
        return cli_usage("--state is PENDING, STARTED, RETRY, SUCCESS, FAILURE or REVOKED");
    if (state)
        filter->state = (int)parsed;
    if (limit && !text_to_int(limit, 1, JOBS_LIMIT_MAX, &number))
        return cli_usage("--limit is a number from 1 to %d", JOBS_LIMIT_MAX);
    filter->limit = (int)number;
    return cli_is_done(cli) ? EXIT_DONE : EXIT_USAGE;
}

static void print_row(const struct job_view *job)
{
    char created[CLOCK_TEXT_SIZE];

    clock_format(job->created_us, created);
    (void)printf("%s  %-8s %3d/%-3d %.19sZ  %-12s %s%s%s\n", job->id.text,
                 job_state_name(job->state), job->attempt, job->max_attempts, created, job->queue,
                 job->task, job->error ? "  " : "", job->error ? job->error : "");
}

static int run_list(struct cli *cli)
{
    AUTO_VALUE(jobs_page_release) struct jobs_page page = {0};
    struct jobs_filter filter;
    struct err e = {0};
    int code = read_filter(cli, &filter);

    if (code != EXIT_DONE)
        return code;
    if (jobs_list(cli_db(cli), &filter, &page, &e))
        return cli_fail(&e);
    for (size_t i = 0; i < page.count && code == EXIT_DONE; i++) {
        if (cli->json)
            code = print_json(job_json(&page.items[i]));
        else
            print_row(&page.items[i]);
    }
    if (!cli->json && page.has_more)
        (void)printf("more: till task list --after %s\n", page.next.text);
    return code;
}

const struct command command_task_list = {
    "task list", "[--state S] [--task T] [--queue Q] [--worker W] [--limit N] [--after UUID]",
    "lists jobs, newest first; with --json one object a line", run_list};

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

static void print_detail(const struct job_detail *detail)
{
    const struct job_view *job = &detail->job;

    (void)printf("%-10s %s\n%-10s %s\n%-10s %s\n%-10s %d of %d\n", "id", job->id.text, "task",
                 job->task, "state", job_state_name(job->state), "attempt", job->attempt,
                 job->max_attempts);
    print_text("queue", job->queue);
    print_text("worker", job->worker);
    print_time("created", job->created_us);
    print_time("scheduled", job->scheduled_us);
    print_time("started", job->started_us);
    print_time("finished", job->finished_us);
    print_text("error", job->error);
    for (size_t i = 0; i < detail->failure_count; i++) {
        const struct job_failure *failure = &detail->failures[i];

        (void)printf("attempt %d  %s%s%s%s\n", failure->attempt, failure->error,
                     failure->detail ? " (" : "", failure->detail ? failure->detail : "",
                     failure->detail ? ")" : "");
    }
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
