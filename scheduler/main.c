/* SPDX-License-Identifier: MIT
 *
 * till-scheduler: everything that happens because time passed.
 */

#include <stdio.h>

#include "common/program.h"
#include "common/redis.h"
#include "scheduler/scheduler.h"

static const char usage[] = "till-scheduler: delivers due retries and delays, and heals what was "
                            "lost; of several, one leads\n";

int main(int argc, char **argv)
{
    struct conf conf;
    struct conf_request request;
    struct err e = {0};
    int code =
        program_start("till-scheduler", PROGRAM_SCHEDULER, usage, argc, argv, &conf, &request);

    if (code < 0) {
        if (redis_check_url(conf.redis_url, &e)) {
            (void)fprintf(stderr, "till-scheduler: %s\n", e.text);
            code = EXIT_USAGE;
        } else {
            code = scheduler_run(&conf);
        }
    }
    conf_release(&conf);
    return code;
}
