/* SPDX-License-Identifier: MIT
 *
 * till task retry, till task run, till task revoke: one job or some, by their ids.
 */
#include "cli/jobs.h"
#include "common/flows.h"
#include "common/jobs_control.h"

static int read_some(struct cli *cli, const char *verb, struct id_list *ret_ids)
{
    int code = read_ids(cli, ret_ids);

    if (code == EXIT_DONE && ret_ids->count == 0)
        return cli_usage("%s needs the UUID of a job", verb);
    return code;
}

static int run_retry(struct cli *cli)
{
    AUTO_VALUE(id_list_release) struct id_list ids = {0};
    AUTO_VALUE(job_list_release) struct job_list jobs = {0};
    struct err e = {0};
    int code = read_some(cli, "task retry", &ids);

    if (code != EXIT_DONE)
        return code;
    if (jobs_requeue(cli_db(cli), ids.items, ids.count, false, &jobs, &e))
        return cli_fail(&e);
    push_jobs(cli, &jobs);
    mark_listed(&ids, &jobs);
    return print_done(cli, &ids, "retried");
}

const struct command command_task_retry = {
    "task retry", "UUID...",
    "runs dead or revoked jobs again, with their task's attempts; their errors are kept",
    run_retry};

static int run_run(struct cli *cli)
{
    AUTO_VALUE(id_list_release) struct id_list ids = {0};
    AUTO_VALUE(job_list_release) struct job_list jobs = {0};
    struct err e = {0};
    int code = read_some(cli, "task run", &ids);

    if (code != EXIT_DONE)
        return code;
    if (jobs_run_now(cli_db(cli), ids.items, ids.count, &jobs, &e))
        return cli_fail(&e);
    push_jobs(cli, &jobs);
    mark_listed(&ids, &jobs);
    return print_done(cli, &ids, "brought forward");
}

const struct command command_task_run = {
    "task run", "UUID...",
    "runs jobs that wait for their time now: scheduled ones, and retries before their pause is "
    "over",
    run_run};

static enum err_code revoke(struct cli *cli, bool terminate, const struct id_list *ids, size_t from,
                            size_t to, struct err *e)
{
    if (from == to)
        return ERR_OK;
    return terminate
               ? jobs_terminate(cli_db(cli), ids->items + from, to - from, ids->done + from, e)
               : jobs_revoke(cli_db(cli), ids->items + from, to - from, ids->done + from, e);
}

static int run_revoke(struct cli *cli)
{
    AUTO_VALUE(id_list_release) struct id_list ids = {0};
    bool terminate = cli_flag(cli, "terminate");
    struct err e = {0};
    int code = read_some(cli, "task revoke", &ids);
    size_t first = 0;
    enum err_code rc;

    if (code != EXIT_DONE)
        return code;
    rc = flows_waiting_first(cli_db(cli), ids.items, ids.count, &first, &e);
    if (!rc)
        rc = revoke(cli, terminate, &ids, 0, first, &e);
    if (!rc)
        rc = revoke(cli, terminate, &ids, first, ids.count, &e);
    return rc ? cli_fail(&e) : print_done(cli, &ids, terminate ? "terminated" : "revoked");
}

const struct command command_task_revoke = {
    "task revoke", "UUID... [--terminate]",
    "cancels jobs that wait or run; of one that runs nothing is committed, and its handler is "
    "told; "
    "with --terminate its process is ended when it has not ended within 5 seconds, after its other "
    "jobs",
    run_revoke};
