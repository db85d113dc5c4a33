/* SPDX-License-Identifier: MIT
 *
 * till-scheduler: everything that happens because time passed.
 */

#include "common/program.h"
#include "common/redis.h"
#include "scheduler/scheduler.h"
#include "scheduler/ticks.h"

static const char usage[] =
    "till-scheduler: makes jobs of schedules, delivers due retries and delays, and heals what was\n"
    "lost; of several, one leads\n\n"
    "Signals: TERM, INT, QUIT stop; HUP reads TILL_SCHEDULES_FILE again.\n";

int main(int argc, char **argv)
{
    struct conf conf;
    struct conf_request request;
    struct ticks ticks = {0};
    struct err e = {0};
    int code =
        program_start("till-scheduler", PROGRAM_SCHEDULER, usage, argc, argv, &conf, &request);

    /* --check reads the file of schedules, too. */
    if (code < 0 || (code == EXIT_DONE && request.check)) {
        if (redis_check_url(conf.redis_url, &e) || ticks_load(&ticks, &conf, &e) || request.check)
            code = program_check_done("till-scheduler", &e);
        else
            code = scheduler_run(&conf, &ticks);
    }
    ticks_release(&ticks);
    conf_release(&conf);
    return program_end("till-scheduler", code);
}
