/* SPDX-License-Identifier: MIT
 *
 * till task logs: what a job has said, and with --follow what it says until it is over.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/wait.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/job_logs.h"
#include "common/jobs_view.h"
#include "common/mem.h"
#include "common/redact.h"
#include "common/task_secrets.h"

enum { PAGE = 500, LINE_BYTES = 64 * 1024 };
#define FOLLOW_PAUSE_US (300 * US_PER_MS)

static void print_line(const struct cli *cli, const struct job_shown *shown,
                       const struct db_result *rows, int row)
{
    enum job_log_level level = (enum job_log_level)db_int(rows, row, 3);
    AUTO(mem_free) char *text = redact_text_of(&shown->secrets, db_text(rows, row, 4));
    AUTO_VALUE(buf_release) struct buf line;
    char at[CLOCK_TEXT_SIZE];

    clock_format(db_int(rows, row, 2), at);
    buf_init(&line, LINE_BYTES);
    if (cli->json) {
        buf_addf(&line, "{\"attempt\":%" PRId64 ",\"time\":\"%s\",\"level\":\"%s\",\"line\":",
                 db_int(rows, row, 1), at, job_log_level_name(level));
        buf_add_json(&line, text);
        buf_add_char(&line, '}');
    } else {
        buf_addf(&line, "%s %" PRId64 " %-7s %s", at, db_int(rows, row, 1),
                 job_log_level_name(level), text);
    }
    (void)puts(line.data);
}

/* Prints what comes after `*after` and moves it on. */
static enum err_code print_rest(struct cli *cli, const struct uuid *id, int64_t *after,
                                struct err *e)
{
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
    enum err_code rc = job_shown_find(cli_db(cli), id, &shown, e);

    for (;;) {
        AUTO(db_result_free) struct db_result *rows = NULL;

        if (!rc)
            rc = job_logs_list(cli_db(cli), id, *after, PAGE, &rows, e);
        if (rc || db_rows(rows) == 0)
            return rc;
        for (int row = 0; row < db_rows(rows); row++)
            print_line(cli, &shown, rows, row);
        (void)fflush(stdout);
        *after = db_int(rows, db_rows(rows) - 1, 0);
    }
}

/* Whether the job is over: asked before the lines are read, the last ones are there by then. */
static enum err_code look(struct cli *cli, const struct uuid *id, bool *ret_over, struct err *e)
{
    AUTO_VALUE(job_detail_release) struct job_detail detail = {0};
    enum err_code rc = jobs_find(cli_db(cli), id, &detail, e);

    *ret_over = !rc && job_is_final(detail.job.state);
    return rc;
}

static int run_logs(struct cli *cli)
{
    bool follow = cli_flag(cli, "follow");
    const char *word = cli_word(cli);
    int64_t answered_us = 0; /* a first look that fails ends it */
    int64_t after = 0;
    struct uuid id;

    if (!word || !uuid_parse(word, &id))
        return cli_usage("task logs needs the UUID of a job");
    if (!cli_is_done(cli))
        return EXIT_USAGE;
    for (;;) {
        struct err e = {0};
        bool over = false;
        enum err_code rc = look(cli, &id, &over, &e);

        if (!rc)
            rc = print_rest(cli, &id, &after, &e);
        if (follow ? !wait_goes_on(rc, &answered_us) : rc != ERR_OK)
            return cli_fail(&e);
        if (!follow || (!rc && over))
            return EXIT_DONE;
        wait_pause(FOLLOW_PAUSE_US);
    }
}

const struct command command_task_logs = {
    "task logs", "UUID [--follow]",
    "prints what a job has said; with --follow until it is over, with --json one object a line",
    run_logs};
