/* SPDX-License-Identifier: MIT
 *
 * till limit list, set, delete, recount: how many jobs of a queue, a task or a key run at once and
 * in a time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/jobs.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/limits_json.h"
#include "common/text.h"

enum { USER_SIZE = 256 };

static void print_limit(const struct limit *limit)
{
    char rate[LIMIT_RATE_SIZE];

    limit_rate_text(limit, rate);
    (void)printf("%-6s %-40s", limit_scope_name(limit->scope), limit->name);
    if (limit->concurrency)
        (void)printf(" concurrency %" PRId64, limit->concurrency);
    if (limit->rate)
        (void)printf(" rate %s burst %" PRId64, rate, limit->burst);
}

/* ---- list ---- */

static int print_counted(struct cli *cli, const struct limit *limit)
{
    struct limit_count count;
    struct err e = {0};

    if (limits_count(cli_db(cli), limit, &count, &e))
        return cli_fail(&e);
    if (!cli->json) {
        print_limit(limit);
        if (limit->scope != LIMIT_QUEUE)
            (void)printf("  running %" PRId64 " parked %" PRId64, count.running, count.parked);
        (void)printf("\n");
        return EXIT_DONE;
    }
    return print_json(limit_json_counted(limit, &count));
}

static int run_list(struct cli *cli)
{
    AUTO_VALUE(limit_list_release) struct limit_list limits = {0};
    struct err e = {0};
    int code = EXIT_DONE;

    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (limits_list(cli_db(cli), &limits, &e))
        return cli_fail(&e);
    for (size_t i = 0; i < limits.count && code == EXIT_DONE; i++)
        code = print_counted(cli, &limits.items[i]);
    return code;
}

const struct command command_limit_list = {
    "limit list", "",
    "lists the limits of queues, tasks and keys; of tasks and keys also what runs under a "
    "concurrency and what is parked",
    run_list};

/* ---- set ---- */

/* "queue NAME", "task NAME" or "key NAME". */
static int read_whom(struct cli *cli, const char *verb, struct limit *limit)
{
    const char *scope = cli_word(cli);
    const char *name = scope ? cli_word(cli) : NULL;

    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (!scope || !name || !limit_scope_parse(scope, &limit->scope))
        return cli_usage("limit %s needs queue, task or key, and a name", verb);
    if (!text_format(limit->name, sizeof limit->name, "%s", name))
        return cli_usage("the name of a limit has at most %d bytes", JOB_NAME_MAX);
    return EXIT_DONE;
}

static int read_numbers(struct cli *cli, struct limit *limit)
{
    const char *concurrency = cli_option(cli, "concurrency");
    const char *rate = cli_option(cli, "rate");
    const char *burst = cli_option(cli, "burst");

    if (concurrency && !text_to_int(concurrency, 1, LIMIT_CONCURRENCY_MAX, &limit->concurrency))
        return cli_usage("--concurrency is a number from 1 to %d", LIMIT_CONCURRENCY_MAX);
    if (rate && !limit_parse_rate(rate, &limit->rate, &limit->per_seconds))
        return cli_usage("--rate is a number of jobs a second, minute or hour: 10/s, 600/m, 1000/h,"
                         " at most %d",
                         LIMIT_RATE_MAX);
    if (burst && !rate)
        return cli_usage("--burst belongs to --rate");
    if (burst && !text_to_int(burst, 1, LIMIT_BURST_MAX, &limit->burst))
        return cli_usage("--burst is a number from 1 to %d", LIMIT_BURST_MAX);
    if (rate && !burst)
        limit->burst = limit_default_burst(limit->rate, limit->per_seconds);
    if (!concurrency && !rate)
        return cli_usage("limit set needs --concurrency, --rate, or both");
    return EXIT_DONE;
}

static int run_set(struct cli *cli)
{
    struct limit limit = {0};
    char user[USER_SIZE];
    struct err e = {0};
    int code = read_numbers(cli, &limit);

    if (code == EXIT_DONE)
        code = read_whom(cli, "set", &limit);
    if (code != EXIT_DONE)
        return code;
    if (limit.scope == LIMIT_QUEUE)
        note_unknown_queue(cli, limit.name);
    if (limit.scope == LIMIT_TASK)
        note_unknown_task(cli, limit.name);
    cli_user(user, sizeof user);
    if (limits_set(cli_db(cli), &limit, *user ? user : NULL, &e))
        return cli_fail(&e);
    if (cli->json)
        return print_json(limit_json(&limit));
    print_limit(&limit);
    (void)printf("\n");
    return EXIT_DONE;
}

const struct command command_limit_set = {
    "limit set", "queue|task|key NAME [--concurrency N] [--rate N/s|N/m|N/h [--burst N]]",
    "lets at most N jobs run at the same time, or begin in a time, over all workers; replaces what "
    "was set. Of a burst, so many may begin at once (default: what a second brings, at least 1). "
    "The name of a key may end in '*': each key that begins so has the limit for itself. A fast "
    "task under a limit runs as a durable one",
    run_set};

/* ---- delete ---- */

static int run_delete(struct cli *cli)
{
    struct limit limit = {0};
    struct err e = {0};
    bool deleted = false;
    int code = read_whom(cli, "delete", &limit);

    if (code != EXIT_DONE)
        return code;
    if (limits_delete(cli_db(cli), limit.scope, limit.name, &deleted, &e))
        return cli_fail(&e);
    if (cli->json)
        (void)print_json(json_pack("{s:s, s:s, s:b}", "scope", limit_scope_name(limit.scope),
                                   "name", limit.name, "deleted", deleted));
    else if (deleted)
        (void)printf("%s %s is not limited any more\n", limit_scope_name(limit.scope), limit.name);
    if (!deleted)
        (void)fprintf(stderr, "till: %s \"%s\" has no limit\n", limit_scope_name(limit.scope),
                      limit.name);
    return deleted ? EXIT_DONE : EXIT_FAILED;
}

const struct command command_limit_delete = {"limit delete", "queue|task|key NAME",
                                             "takes a limit away; what was parked for it runs",
                                             run_delete};

/* ---- recount ---- */

static int run_recount(struct cli *cli)
{
    struct limit limit = {0};
    struct limit_recount recount = {0};
    struct err e = {0};
    int code = read_whom(cli, "recount", &limit);

    if (code != EXIT_DONE)
        return code;
    if (limit.scope == LIMIT_QUEUE)
        return cli_usage("limits of queues are counted in Redis with each read: there is nothing "
                         "to recount");
    if (limits_recount(cli_db(cli), &limit, &recount, &e))
        return cli_fail(&e);
    if (cli->json)
        return print_json(
            json_pack("{s:s, s:s, s:I, s:I, s:I}", "scope", limit_scope_name(limit.scope), "name",
                      limit.name, "buckets", (json_int_t)recount.buckets, "too_many",
                      (json_int_t)recount.too_many, "too_few", (json_int_t)recount.too_few));
    if (recount.too_many || recount.too_few)
        (void)printf("%s %s counted %" PRId64 " too many and %" PRId64
                     " too few, and is right now\n",
                     limit_scope_name(limit.scope), limit.name, recount.too_many, recount.too_few);
    else
        (void)printf("%s %s counts right\n", limit_scope_name(limit.scope), limit.name);
    return EXIT_DONE;
}

const struct command command_limit_recount = {
    "limit recount", "task|key NAME",
    "counts anew which jobs have a place, for a limit that lets nobody run though nothing does; "
    "harmless at any time, but until it is done no other job of it begins",
    run_recount};
