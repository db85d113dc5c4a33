/* SPDX-License-Identifier: MIT
 *
 * till queue pause, resume, purge.
 */
#include <stdio.h>
#include <string.h>

#include "cli/jobs.h"
#include "common/jobs_control.h"
#include "common/jobs_heal.h"
#include "common/text.h"

enum { PURGE_BATCH = 1000 };

static int read_queue(struct cli *cli, const char *verb, const char **ret_queue)
{
    const char *queue = cli_word(cli);

    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (!queue || !text_is_name(queue))
        return cli_usage("queue %s needs the name of a queue", verb);
    *ret_queue = queue;
    return EXIT_DONE;
}

static int print_change(const struct cli *cli, const char *queue, bool paused, bool changed)
{
    const char *now = paused ? "paused" : "running";

    if (cli->json)
        (void)printf("{\"queue\":\"%s\",\"paused\":%s,\"changed\":%s}\n", queue,
                     paused ? "true" : "false", changed ? "true" : "false");
    else
        (void)printf("queue %s %s %s\n", queue, changed ? "is now" : "was already", now);
    return EXIT_DONE;
}

static int run_pause(struct cli *cli)
{
    char user[100];
    const char *queue = "";
    struct err e = {0};
    bool changed;
    int code = read_queue(cli, "pause", &queue);

    if (code != EXIT_DONE)
        return code;
    cli_user(user, sizeof user);
    note_unknown_queue(cli, queue);
    if (queues_pause(cli_db(cli), queue, *user ? user : NULL, &changed, &e))
        return cli_fail(&e);
    return print_change(cli, queue, true, changed);
}

const struct command command_queue_pause = {
    "queue pause", "NAME",
    "workers begin no more jobs of this queue, within a second, until it is resumed", run_pause};

static int run_resume(struct cli *cli)
{
    const char *queue = NULL;
    struct err e = {0};
    bool changed;
    int code = read_queue(cli, "resume", &queue);

    if (code != EXIT_DONE)
        return code;
    if (queues_resume(cli_db(cli), queue, &changed, &e))
        return cli_fail(&e);
    return print_change(cli, queue, false, changed);
}

const struct command command_queue_resume = {"queue resume", "NAME",
                                             "workers go on with a paused queue", run_resume};

static enum err_code purge(struct cli *cli, const char *queue, bool scheduled, int64_t until_us,
                           int64_t *total, struct err *e)
{
    int64_t found = PURGE_BATCH;
    enum err_code rc = ERR_OK;

    while (!rc && found == PURGE_BATCH) {
        rc = jobs_purge(cli_db(cli), queue, scheduled, until_us, PURGE_BATCH, &found, e);
        if (!rc)
            *total += found;
    }
    return rc;
}

static int run_purge(struct cli *cli)
{
    bool scheduled = cli_flag(cli, "scheduled");
    const char *queue = NULL;
    struct err e = {0};
    int64_t until_us = 0;
    int64_t total = 0;
    enum err_code rc;
    int code = read_queue(cli, "purge", &queue);

    if (code != EXIT_DONE)
        return code;
    rc = jobs_server_time(cli_db(cli), &until_us, &e);
    if (!rc)
        rc = purge(cli, queue, false, until_us, &total, &e);
    if (!rc && scheduled)
        rc = purge(cli, queue, true, until_us, &total, &e);
    print_sum(cli, total, "revoked");
    return rc ? cli_fail(&e) : EXIT_DONE;
}

const struct command command_queue_purge = {
    "queue purge", "NAME [--scheduled]",
    "revokes all jobs of a queue that wait for a worker; with --scheduled also those that wait for "
    "their time",
    run_purge};
