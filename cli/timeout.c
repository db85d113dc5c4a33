/* SPDX-License-Identifier: MIT
 *
 * till task timeout: how long runs of a task may take, set while the workers run.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/jobs.h"
#include "common/limits_json.h"
#include "common/text.h"
#include "common/time_limits.h"

static json_t *seconds_json(int64_t ms)
{
    return ms ? json_real((double)ms / 1000.0) : json_null();
}

static void print_limit(const struct time_limit *limit)
{
    (void)printf("%-48s soft %g s hard %g s%s\n", limit->task,
                 (double)time_limit_soft_ms(limit) / 1000.0,
                 (double)time_limit_hard_ms(limit) / 1000.0,
                 limit->soft_ms || limit->hard_ms ? " (set)" : "");
}

static int list(struct cli *cli)
{
    AUTO_VALUE(time_limit_list_release) struct time_limit_list found = {0};
    struct err e = {0};

    if (time_limits_list(cli_db(cli), false, &found, &e))
        return cli_fail(&e);
    for (size_t i = 0; i < found.count; i++) {
        if (cli->json)
            (void)print_json(time_limit_json(&found.items[i]));
        else
            print_limit(&found.items[i]);
    }
    return EXIT_DONE;
}

static int run_timeout(struct cli *cli)
{
    const char *soft = cli_option(cli, "soft");
    const char *hard = cli_option(cli, "hard");
    const char *task = cli_word(cli);
    int64_t soft_ms = 0;
    int64_t hard_ms = 0;
    char by[64];
    struct err e = {0};

    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (!task)
        return soft || hard ? cli_usage("task timeout needs the name of a task") : list(cli);
    if ((soft && !text_to_ms(soft, TIME_LIMIT_MS_MAX, &soft_ms)) ||
        (hard && !text_to_ms(hard, TIME_LIMIT_MS_MAX, &hard_ms)))
        return cli_usage("a time limit is a number of seconds up to a year, such as 90 or 0.5");
    cli_user(by, sizeof by);
    if (time_limits_set(cli_db(cli), task, soft_ms, hard_ms, *by ? by : NULL, &e))
        return e.code == ERR_INVALID ? cli_usage("%s", e.text) : cli_fail(&e);
    note_unknown_task(cli, task);
    if (cli->json)
        return print_json(json_pack("{s:s, s:o, s:o}", "task", task, "soft", seconds_json(soft_ms),
                                    "hard", seconds_json(hard_ms)));
    (void)printf("%s: %s\n", task,
                 soft_ms || hard_ms ? "time limits set" : "the task's own time limits hold");
    return EXIT_DONE;
}

const struct command command_task_timeout = {
    "task timeout", "[TASK [--soft S] [--hard S]]",
    "runs of the task that begin from now on have so many seconds, in all workers; with neither: "
    "as its "
    "author declared. Without a task: lists the limits of all",
    run_timeout};
