/* SPDX-License-Identifier: MIT
 *
 * till migrate, till seed: the database's tables and the demo data.
 */
#include <stdio.h>

#include "cli/cli.h"
#include "common/migrate.h"

static void print_applied(const char *name, void *context)
{
    const struct cli *cli = context;

    (void)printf(cli->json ? "{\"applied\":\"%s\"}\n" : "applied %s\n", name);
}

static int run_migrate(struct cli *cli)
{
    struct err e = {0};
    bool make_roles = cli_flag(cli, "roles");

    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (migrate_up(cli_db(cli), make_roles, print_applied, cli, &e))
        return cli_fail(&e);
    if (!cli->json)
        (void)printf("the database is up to date\n");
    return EXIT_DONE;
}

static int run_seed(struct cli *cli)
{
    struct err e = {0};

    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (migrate_check(cli_db(cli), &e) || migrate_seed(cli_db(cli), &e))
        return cli_fail(&e);
    if (!cli->json)
        (void)printf("the demo data is loaded\n");
    return EXIT_DONE;
}

const struct command command_migrate = {
    "migrate", "[--roles]",
    "brings the database to this program's version; several at once are safe", run_migrate};

const struct command command_seed = {
    "seed", "", "loads demo data (1,200 products, 120 users); never into a real shop", run_seed};
