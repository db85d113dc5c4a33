/* SPDX-License-Identifier: MIT
 *
 * till task secrets: which args, kwargs and members of results of a task nobody may see.
 */
#include <stdio.h>
#include <string.h>

#include "cli/jobs.h"
#include "common/buf.h"
#include "common/task_secrets.h"
#include "common/text.h"

enum { NAMES_BYTES = 64 * 1024 };

static void print_one(const struct cli *cli, const char *task, const char *names)
{
    (void)printf(cli->json ? "{\"task\":\"%s\",\"secrets\":%s}\n" : "%-40s %s\n", task, names);
}

/* Those of one task, or of all (NULL). */
static int list(struct cli *cli, const char *task)
{
    bool found = false;
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct err e = {0};

    if (task_secrets_list(cli_db(cli), &rows, &e))
        return cli_fail(&e);
    for (int row = 0; row < db_rows(rows); row++) {
        if (task && strcmp(task, db_text(rows, row, 0)) != 0)
            continue;
        print_one(cli, db_text(rows, row, 0), db_text(rows, row, 1));
        found = true;
    }
    if (task && !found)
        print_one(cli, task, cli->json ? "null" : "as its author declared");
    return EXIT_DONE;
}

static int run_secrets(struct cli *cli)
{
    AUTO_VALUE(buf_release) struct buf names;
    bool none = cli_flag(cli, "none");
    const char *task = cli_word(cli);
    size_t count = 0;
    struct err e = {0};

    buf_init(&names, NAMES_BYTES);
    if (!task && !cli_is_done(cli))
        return EXIT_USAGE;
    if (!task)
        return none ? cli_usage("task secrets --none needs the name of a task") : list(cli, NULL);
    if (strcmp(task, "*") != 0 && !text_is_name(task))
        return cli_usage("\"%.60s\" is no name of a task", task);
    for (const char *name = cli_word(cli); name; name = cli_word(cli)) {
        if (strlen(name) > SECRETS_NAME_MAX || !*name || ++count > SECRETS_NAMES_MAX)
            return cli_usage("at most %d names of 1 to %d bytes", SECRETS_NAMES_MAX,
                             SECRETS_NAME_MAX);
        db_array_add(&names, name);
    }
    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (none == (count > 0))
        return cli_usage("task secrets needs the names that are secret, or --none");
    db_array_end(&names);
    if (task_secrets_set(cli_db(cli), task, none ? NULL : names.data, &e))
        return cli_fail(&e);
    if (strcmp(task, "*") != 0)
        note_unknown_task(cli, task);
    return list(cli, task);
}

const struct command command_task_secrets = {
    "task secrets", "[TASK NAME... | TASK --none]",
    "declares which args, kwargs and members of results of a task nobody may see, or lists what was"
    " declared; a number is a place of args, from 0; the task * is all of them",
    run_secrets};
