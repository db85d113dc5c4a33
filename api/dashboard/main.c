/* SPDX-License-Identifier: MIT
 *
 * till-dashboard: settings, who may look, the server, and its end.
 */
#include <stdio.h>

#include "api/dashboard/dashboard.h"
#include "common/program.h"

int main(int argc, char **argv)
{
    struct conf conf = {0};
    struct dashboard dashboard = {.conf = &conf};
    struct conf_request request = {0};
    struct err e = {0};
    int code = program_start("till-dashboard", PROGRAM_DASHBOARD,
                             "Usage: till-dashboard [--setting=value]...\n\n"
                             "Shows tasks, workers and queues to a browser and to scripts that\n"
                             "were written for Flower.\n",
                             argc, argv, &conf, &request);

    if (code < 0 && auth_init(&dashboard.auth, conf.dashboard_auth, conf.dashboard_listen, &e)) {
        (void)fprintf(stderr, "till-dashboard: %s\n", e.text);
        code = EXIT_USAGE;
    }
    if (code < 0)
        code = dashboard_serve(&dashboard);
    conf_release(&conf);
    return code;
}
