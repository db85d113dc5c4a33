/* SPDX-License-Identifier: MIT
 *
 * till dead list, retry, delete: jobs that ended in FAILURE, by their ids or by what they have in
 * common.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/jobs.h"
#include "common/jobs_control.h"
#include "common/jobs_heal.h"
#include "common/text.h"

enum { DEAD_BATCH = 500 };

static int run_list(struct cli *cli)
{
    const char *limit = cli_option(cli, "limit");
    struct jobs_filter filter = {.state = JOB_FAILURE,
                                 .task = cli_option(cli, "task"),
                                 .queue = cli_option(cli, "queue"),
                                 .cursor = cli_option(cli, "after")};
    int64_t number = 20;
    int code = check_job_names(filter.task, filter.queue);

    if (code != EXIT_DONE)
        return code;
    if (limit && !text_to_int(limit, 1, JOBS_LIMIT_MAX, &number))
        return cli_usage("--limit is a number from 1 to %d", JOBS_LIMIT_MAX);
    filter.limit = (int)number;
    return cli_is_done(cli) ? print_jobs(cli, &filter) : EXIT_USAGE;
}

const struct command command_dead_list = {
    "dead list", "[--task T] [--queue Q] [--limit N] [--after UUID]",
    "lists jobs that ended in FAILURE, newest first", run_list};

/* Which dead jobs a verb is about: those with these ids, or those that match. */
struct selection {
    struct id_list ids;
    struct dead_filter filter;
};

static void selection_release(struct selection *selection) { id_list_release(&selection->ids); }

static int read_selection(struct cli *cli, const char *verb, struct selection *selection)
{
    struct dead_filter *filter = &selection->filter;
    bool all = cli_flag(cli, "all");
    bool matching;
    int code;

    filter->task = cli_option(cli, "task");
    filter->queue = cli_option(cli, "queue");
    filter->error = cli_option(cli, "error");
    matching = filter->task || filter->queue || filter->error;
    /* An empty variable of a script must not mean all of them. */
    if (filter->error && (!*filter->error || !text_is_utf8(filter->error, strlen(filter->error))))
        return cli_usage("--error is how the error of the jobs begins: not empty, in UTF-8");
    code = check_job_names(filter->task, filter->queue);
    if (code == EXIT_DONE)
        code = read_ids(cli, &selection->ids);
    if (code != EXIT_DONE)
        return code;
    if (all + matching + (selection->ids.count > 0) != 1)
        return cli_usage("dead %s needs either UUIDs, or --task, --queue or --error, or --all",
                         verb);
    return EXIT_DONE;
}

/* One batch; how many were found. */
static enum err_code retry_batch(struct cli *cli, const struct dead_filter *filter,
                                 int64_t *ret_count, struct err *e)
{
    AUTO_VALUE(job_list_release) struct job_list jobs = {0};
    enum err_code rc = jobs_requeue_matching(cli_db(cli), filter, DEAD_BATCH, &jobs, e);

    if (rc)
        return rc;
    push_jobs(cli, &jobs);
    *ret_count = (int64_t)jobs.count;
    return ERR_OK;
}

static enum err_code delete_batch(struct cli *cli, const struct dead_filter *filter,
                                  int64_t *ret_count, struct err *e)
{
    return jobs_delete_matching(cli_db(cli), filter, DEAD_BATCH, ret_count, e);
}

static int run_matching(struct cli *cli, struct dead_filter *filter, const char *done,
                        enum err_code (*batch)(struct cli *cli, const struct dead_filter *filter,
                                               int64_t *ret_count, struct err *e))
{
    struct err e = {0};
    int64_t found = 1;
    int64_t total = 0;
    enum err_code rc = jobs_server_time(cli_db(cli), &filter->until_us, &e);

    while (!rc && found > 0) {
        rc = batch(cli, filter, &found, &e);
        if (!rc)
            total += found;
    }
    print_sum(cli, total, done);
    return rc ? cli_fail(&e) : EXIT_DONE;
}

/* What was left as it was, and why. */
static int tell_held(struct cli *cli, const struct dead_filter *filter)
{
    struct err e = {0};
    int64_t held = 0;

    if (jobs_count_held(cli_db(cli), filter, &held, &e))
        return cli_fail(&e);
    if (held > 0)
        (void)fprintf(stderr,
                      "till: %" PRId64
                      " %s not retried: another job holds the unique key, or took it"
                      " while it ran, or what came before it in its flow was deleted\n",
                      held, held == 1 ? "job was" : "jobs were");
    return EXIT_DONE;
}

static int run_retry(struct cli *cli)
{
    AUTO_VALUE(selection_release) struct selection selection = {0};
    AUTO_VALUE(job_list_release) struct job_list jobs = {0};
    struct err e = {0};
    int code = read_selection(cli, "retry", &selection);

    if (code != EXIT_DONE)
        return code;
    if (selection.ids.count == 0) {
        code = run_matching(cli, &selection.filter, "retried", retry_batch);
        return code == EXIT_DONE ? tell_held(cli, &selection.filter) : code;
    }
    if (jobs_requeue(cli_db(cli), selection.ids.items, selection.ids.count, true, &jobs, &e))
        return cli_fail(&e);
    push_jobs(cli, &jobs);
    mark_listed(&selection.ids, &jobs);
    return print_done(cli, &selection.ids, "retried");
}

#define SELECTION "[UUID... | --task T --queue Q --error TEXT | --all]"

const struct command command_dead_retry = {
    "dead retry", SELECTION,
    "runs dead jobs again, with their task's attempts; TEXT is how the error begins", run_retry};

static int tell_kept(struct cli *cli, const struct dead_filter *filter)
{
    struct err e = {0};
    int64_t kept = 0;

    if (jobs_count_in_flows(cli_db(cli), filter, &kept, &e))
        return cli_fail(&e);
    if (kept > 0)
        (void)fprintf(stderr, "till: %" PRId64 " %s flow is not over\n", kept,
                      kept == 1 ? "job was not deleted: its" : "jobs were not deleted: their");
    return EXIT_DONE;
}

static int run_delete(struct cli *cli)
{
    AUTO_VALUE(selection_release) struct selection selection = {0};
    struct id_list *ids = &selection.ids;
    struct err e = {0};
    int code = read_selection(cli, "delete", &selection);

    if (code != EXIT_DONE)
        return code;
    if (ids->count == 0) {
        code = run_matching(cli, &selection.filter, "deleted", delete_batch);
        return code == EXIT_DONE ? tell_kept(cli, &selection.filter) : code;
    }
    if (jobs_delete_dead(cli_db(cli), ids->items, ids->count, ids->done, &e))
        return cli_fail(&e);
    return print_done(cli, ids, "deleted");
}

const struct command command_dead_delete = {
    "dead delete", SELECTION, "deletes dead jobs and their errors for ever", run_delete};
