/* SPDX-License-Identifier: MIT
 *
 * What verbs about jobs share; see jobs.h.
 */
#include "cli/jobs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/flows.h"
#include "common/job_json.h"
#include "common/jobs.h"
#include "common/jobs_control.h"
#include "common/jobs_figures.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"

enum { EVER_S = 10 * 365 * 86400 };

void id_list_release(struct id_list *ids)
{
    mem_free(ids->items);
    mem_free(ids->done);
    *ids = (struct id_list){0};
}

int check_job_names(const char *task, const char *queue)
{
    if (task && !text_is_name(task))
        return cli_usage("\"%.60s\" is no name of a task", task);
    if (queue && !text_is_name(queue))
        return cli_usage("\"%.60s\" is no name of a queue", queue);
    return EXIT_DONE;
}

void note_unknown_queue(struct cli *cli, const char *queue)
{
    AUTO_VALUE(jobs_queues_release) struct jobs_queues queues = {0};

    if (jobs_list_queues(cli_db(cli), &queues, NULL))
        return; /* what comes next tells why */
    for (size_t i = 0; i < queues.count; i++)
        if (strcmp(queues.items[i].name, queue) == 0)
            return;
    (void)fprintf(stderr, "till: note: no task and no open job is of queue \"%s\" so far\n", queue);
}

void note_unknown_task(struct cli *cli, const char *task)
{
    bool known = true;

    if (!jobs_task_is_declared(cli_db(cli), task, EVER_S, &known, NULL) && !known)
        (void)fprintf(stderr, "till: note: no worker has told of a task \"%s\" so far\n", task);
}

int read_ids(struct cli *cli, struct id_list *ret_ids)
{
    AUTO_VALUE(id_list_release) struct id_list ids = {0};
    const char *word;

    if (cli->argc > CLI_IDS_MAX)
        return cli_usage("at most %d UUIDs at once", CLI_IDS_MAX);
    ids.items = mem_array((size_t)cli->argc, sizeof ids.items[0]);
    ids.done = mem_array((size_t)cli->argc, sizeof ids.done[0]);
    while ((word = cli_word(cli)) != NULL)
        if (!uuid_parse(word, &ids.items[ids.count++]))
            return cli_usage("\"%.60s\" is no UUID of a job", word);
    if (!cli_is_done(cli))
        return EXIT_USAGE;
    *ret_ids = ids;
    ids = (struct id_list){0};
    return EXIT_DONE;
}

/* Why a dead or revoked job was not retried; NULL: because of its state. Owned by the caller. */
static char *find_why(struct cli *cli, const struct job_view *job, const char *done)
{
    char *why = NULL;

    if (strcmp(done, "retried") == 0 && jobs_why_not_requeued(cli_db(cli), &job->id, &why, NULL))
        return NULL;
    return why;
}

/* Why one that waits was not made ready. */
static const char *waits_for(const struct job_view *job)
{
    return job->waits         ? ": it waits for others of its flow"
           : job->parked_on   ? ": it waits for a place or its turn under a limit"
           : job->enqueued_us ? ": it is ready already, and waits for a worker"
                              : "";
}

/* Why nothing was done: its state, or that there is no such job. */
static int print_not_done(struct cli *cli, const struct uuid *id, const char *done)
{
    AUTO_VALUE(job_detail_release) struct job_detail detail = {0};
    struct err e = {0};
    enum err_code rc = jobs_find(cli_db(cli), id, &detail, &e);
    const char *state = rc ? NULL : job_state_name(detail.job.state);
    AUTO(mem_free) char *why = rc ? NULL : find_why(cli, &detail.job, done);

    if (rc && rc != ERR_NOT_FOUND)
        return cli_fail(&e);
    if (cli->json && state)
        (void)printf("{\"id\":\"%s\",\"done\":null,\"state\":\"%s\"}\n", id->text, state);
    else if (cli->json)
        (void)printf("{\"id\":\"%s\",\"done\":null,\"state\":null}\n", id->text);
    if (!state)
        (void)fprintf(stderr, "till: there is no job %s\n", id->text);
    else if (detail.job.payload)
        (void)fprintf(stderr, "till: job %s could not be decoded: not %s\n", id->text, done);
    else if (why)
        (void)fprintf(stderr, "till: job %s is %s: not %s: %s\n", id->text, state, done, why);
    else if (detail.job.flow && detail.job.state == JOB_FAILURE && strcmp(done, "deleted") == 0)
        (void)fprintf(stderr,
                      "till: job %s belongs to flow %s, which is not over: not deleted; it can be"
                      " once the flow has ended (till flow cancel ends it)\n",
                      id->text, detail.job.flow);
    else
        (void)fprintf(stderr, "till: job %s is %s: not %s%s\n", id->text, state, done,
                      strcmp(done, "brought forward") == 0 &&
                              (detail.job.state == JOB_PENDING || detail.job.state == JOB_RETRY)
                          ? waits_for(&detail.job)
                          : "");
    return EXIT_FAILED;
}

static void print_one_done(const struct cli *cli, const struct uuid *id, const char *done,
                           const char *waits_for)
{
    if (cli->json && waits_for)
        (void)printf("{\"id\":\"%s\",\"done\":\"%s\",\"waits_for\":\"%s\"}\n", id->text, done,
                     waits_for); /* ids, and names of tasks */
    else if (cli->json)
        (void)printf("{\"id\":\"%s\",\"done\":\"%s\"}\n", id->text, done);
    else if (waits_for)
        (void)printf("%s %s, but does not run yet: it waits for %s\n", id->text, done, waits_for);
    else
        (void)printf("%s %s\n", id->text, done);
}

/* What it was found to wait for, or NULL. */
static const char *find_waits_for(const struct db_result *rows, const struct uuid *id)
{
    for (int row = 0; rows && row < db_rows(rows); row++)
        if (strcmp(db_text(rows, row, 0), id->text) == 0)
            return db_is_null(rows, row, 1) ? "others of its flow" : db_text(rows, row, 1);
    return NULL;
}

int print_done(struct cli *cli, const struct id_list *ids, const char *done)
{
    AUTO(db_result_free) struct db_result *waiting = NULL;
    struct err e = {0};
    int code = EXIT_DONE;
    int64_t count = 0;

    if (strcmp(done, "retried") == 0 &&
        flows_waits_for(cli_db(cli), ids->items, ids->count, &waiting, &e))
        return cli_fail(&e);
    for (size_t i = 0; i < ids->count; i++) {
        if (!ids->done[i]) {
            code = print_not_done(cli, &ids->items[i], done);
            continue;
        }
        count++;
        print_one_done(cli, &ids->items[i], done, find_waits_for(waiting, &ids->items[i]));
    }
    if (!cli->json)
        print_sum(cli, count, done);
    return code;
}

void print_sum(const struct cli *cli, int64_t count, const char *done)
{
    if (cli->json)
        (void)printf("{\"count\":%" PRId64 ",\"done\":\"%s\"}\n", count, done);
    else
        (void)printf("%" PRId64 " %s %s\n", count, count == 1 ? "job" : "jobs", done);
}

void mark_listed(struct id_list *ids, const struct job_list *jobs)
{
    for (size_t i = 0; i < ids->count; i++)
        for (size_t k = 0; k < jobs->count && !ids->done[i]; k++)
            ids->done[i] = strcmp(ids->items[i].text, jobs->items[k].id.text) == 0;
}

void push_jobs(struct cli *cli, const struct job_list *jobs)
{
    struct err e = {0};

    CRASH_POINT("command.committed");
    if (jobs->count > 0 && job_list_push(jobs, cli_redis(cli), &e))
        (void)fprintf(stderr, "till: %s; the scheduler delivers the jobs later\n", e.text);
}

int print_json(json_t *take_value)
{
    AUTO(json_decref) json_t *value = take_value;
    char *text = value ? json_write(value) : NULL;

    if (!text)
        return cli_fail(&(struct err){.code = ERR_NOMEM, .text = "out of memory"});
    (void)puts(text);
    mem_free(text);
    return EXIT_DONE;
}

/* What the list goes by, where that is not when the job was made. */
static void print_what_orders(const struct job_view *job, enum jobs_order order)
{
    char due[CLOCK_TEXT_SIZE];
    double runtime;

    if (order == JOBS_DUE_FIRST) {
        clock_format(job->scheduled_us, due);
        (void)printf("  due %.19sZ", due);
    } else if (order != JOBS_NEWEST_FIRST && order != JOBS_OLDEST_FIRST &&
               job_runtime(job, &runtime)) {
        (void)printf("  ran %.3f s", runtime);
    }
}

static void print_row(const struct job_view *job, enum jobs_order order)
{
    char created[CLOCK_TEXT_SIZE];
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};

    job_shown_make(job, &shown);
    clock_format(job->created_us, created);
    (void)printf("%s  %-8s %3d/%-3d %.19sZ  %-12s %s", job->id.text, job_state_name(job->state),
                 job->attempt, job->max_attempts, created, job->queue, job->task);
    print_what_orders(job, order);
    (void)printf("%s%s\n", shown.error ? "  " : "", shown.error ? shown.error : "");
}

/* What else there is, and what was not looked at. */
static void print_rest(const struct jobs_filter *filter, const struct jobs_page *page)
{
    char next[JOBS_CURSOR_SIZE];

    jobs_cursor(filter, page, next);
    if (page->sorted_of)
        (void)printf("by running time among the newest %d that may be meant\n", page->sorted_of);
    if (*next)
        (void)printf("%s: the same command with --after %s\n",
                     page->is_cut ? "looked through a part only; further" : "more", next);
}

int print_jobs(struct cli *cli, const struct jobs_filter *filter)
{
    AUTO_VALUE(jobs_page_release) struct jobs_page page = {0};
    struct err e = {0};
    int code = EXIT_DONE;

    db_set_options(cli_db(cli), JOBS_VIEW_OPTIONS);
    if (jobs_list(cli_db(cli), filter, &page, &e))
        return cli_fail(&e);
    for (size_t i = 0; i < page.count && code == EXIT_DONE; i++) {
        if (cli->json)
            code = print_json(job_json(&page.items[i]));
        else
            print_row(&page.items[i], page.is_by_due ? JOBS_DUE_FIRST : filter->order);
    }
    if (!cli->json)
        print_rest(filter, &page);
    return code;
}
