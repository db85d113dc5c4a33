/* SPDX-License-Identifier: MIT
 *
 * till-dashboard: settings, who may look, the server, and its end.
 */
#include <string.h>

#include "api/dashboard/dashboard.h"
#include "api/dashboard/dead_memory.h"
#include "api/dashboard/shared.h"
#include "common/program.h"
#include "common/redis.h"

/* It goes into pages and headers as it is. */
static enum err_code check_prefix(const char *prefix, struct err *e)
{
    size_t len = strlen(prefix);

    if (len == 0)
        return ERR_OK;
    if (prefix[0] != '/' || prefix[len - 1] == '/' || len > 200 || strstr(prefix, "//") ||
        strspn(prefix, "/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != len)
        return err_set(e, ERR_INVALID,
                       "PATH_PREFIX must begin with a slash, not end with one, and have only"
                       " letters, digits, '.', '_' and '-' between: /till");
    return ERR_OK;
}

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

    /* --check reads the file of users, too. */
    if ((code < 0 || (code == EXIT_DONE && request.check)) &&
        (check_prefix(conf.path_prefix, &e) || redis_check_url(conf.redis_url, &e) ||
         auth_new(conf.dashboard_auth, conf.dashboard_users, conf.dashboard_listen, &dashboard.auth,
                  &e) ||
         request.check))
        code = program_check_done("till-dashboard", &e);
    dashboard.shared = shared_new();
    dashboard.dead = dead_memory_new();
    if (code < 0)
        code = dashboard_serve(&dashboard);
    dead_memory_free(dashboard.dead);
    shared_free(dashboard.shared);
    auth_free(dashboard.auth);
    conf_release(&conf);
    return program_end("till-dashboard", code);
}
