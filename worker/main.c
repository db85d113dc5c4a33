/* SPDX-License-Identifier: MIT
 *
 * till-worker: runs jobs. Checks what can be checked before the first process starts.
 */
#include "common/mem.h"
#include "common/program.h"
#include "common/redis.h"
#include "common/zone.h"
#include "worker/gateway.h"
#include "worker/mailer.h"
#include "worker/supervisor.h"
#include "worker/tasks.h"

static const char usage[] =
    "till-worker: runs jobs in TILL_WORKER_PROCESSES processes of TILL_WORKER_CONCURRENCY slots\n\n"
    "Signals: TERM, INT finish what runs within --timeout, then leave it to others; a second one,\n"
    "or QUIT, at once; TSTP takes no more work until CONT; USR1 tells what every thread is "
    "doing.\n";

static enum err_code check_zone(const char *name, struct err *e)
{
    AUTO(mem_free) struct zone *zone = mem_alloc(sizeof *zone);

    return zone_read(name, zone, e);
}

static enum err_code check(const struct conf *conf, struct err *e)
{
    const struct gateway_place gateway = gateway_place_of(conf);
    const struct mail_place mail = mail_place_of(conf);
    enum err_code rc = tasks_check(tasks, tasks_count, e);

    if (!rc)
        rc = redis_check_url(conf->redis_url, e);
    if (!rc)
        rc = gateway_check(&gateway, e);
    if (!rc)
        rc = mailer_check(&mail, e);
    return rc ? rc : check_zone(conf->time_zone, e);
}

int main(int argc, char **argv)
{
    struct conf conf;
    struct conf_request request;
    struct err e = {0};
    int code = program_start("till-worker", PROGRAM_WORKER, usage, argc, argv, &conf, &request);

    /* --check looks at these, too. */
    if (code < 0 || (code == EXIT_DONE && request.check)) {
        if (check(&conf, &e) || request.check) {
            code = program_check_done("till-worker", &e);
        } else {
            mem_share_heaps();
            code = supervise(&conf);
        }
    }
    conf_release(&conf);
    return program_end("till-worker", code);
}
