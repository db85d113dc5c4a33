/* SPDX-License-Identifier: MIT
 *
 * till settings: every setting with its default, as lines for a settings file.
 */
#include "cli/cli.h"

static int run_settings(struct cli *cli)
{
    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (cli->json)
        conf_print_json(stdout);
    else
        conf_print_sample(stdout);
    return EXIT_DONE;
}

const struct command command_settings = {
    "settings", "", "prints every setting with its default, as a settings file", run_settings};
