/* SPDX-License-Identifier: MIT
 *
 * till worker quiet, resume, stop, restart, grow, shrink, scale, autoscale, add-consumer,
 * cancel-consumer, reset, orders: what people order of running workers. Orders are kept; workers
 * hear them at once.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/jobs.h"
#include "common/clock.h"
#include "common/text.h"
#include "common/worker_orders.h"

#define WHOM "NAME|HOST|all"

/* The words of one verb, and whom they concern. */
struct order {
    struct cli *cli;
    const char *verb;
    const char *whom;
    struct workers_found found;
    char by[64];
    struct err e;
};

static void order_release(struct order *order) { workers_found_release(&order->found); }

static const char *by(const struct order *order) { return *order->by ? order->by : NULL; }

/* Reads the last word, `fallback` without one, and looks who that is. A lasting order to all is
 * taken although there is nobody yet, and any lasting one although Redis cannot tell. */
static int find(struct order *order, const char *fallback, bool lasting)
{
    const char *word = cli_word(order->cli);
    enum err_code rc;

    order->whom = word ? word : fallback;
    if (!cli_is_done(order->cli))
        return EXIT_USAGE;
    if (!order->whom)
        return cli_usage("worker %s needs a worker (host:N), a host, or all", order->verb);
    cli_user(order->by, sizeof order->by);
    rc = workers_find(cli_redis(order->cli), order->whom, &order->found, &order->e);
    if (rc == ERR_NOT_FOUND && lasting && strcmp(order->whom, WORKERS_ALL) == 0)
        rc = ERR_OK;
    if (err_is_transient(rc) && lasting) {
        (void)fprintf(stderr, "till: who is meant cannot be looked up: %s; the order is kept\n",
                      order->e.text);
        rc = ERR_OK;
    }
    if (rc)
        return cli_fail(&order->e);
    order->e = (struct err){0};
    return EXIT_DONE;
}

/* What was ordered, of whom. */
static int print_order(const struct order *order, const char *what)
{
    size_t alive = 0;

    for (size_t i = 0; i < order->found.count; i++)
        alive += order->found.items[i].is_alive;
    if (!order->cli->json) {
        (void)printf("%s: %s (%zu running)\n", order->whom, what, alive);
        return EXIT_DONE;
    }
    json_t *names = json_array();

    for (size_t i = 0; i < order->found.count; i++)
        if (order->found.items[i].is_alive)
            (void)json_array_append_new(names, json_string(order->found.items[i].name));
    return print_json(
        json_pack("{s:s, s:s, s:o}", "whom", order->whom, "order", what, "workers", names));
}

static int finish(struct order *order, enum err_code rc, const char *what)
{
    return rc ? cli_fail(&order->e) : print_order(order, what);
}

/* ---- quiet, resume, stop, restart, reset ---- */

static int run_quiet(struct cli *cli)
{
    AUTO_VALUE(order_release) struct order order = {.cli = cli, .verb = "quiet"};
    int code = find(&order, NULL, true);

    if (code != EXIT_DONE)
        return code;
    return finish(&order, workers_quiet(cli_db(cli), order.whom, true, by(&order), &order.e),
                  "quiet");
}

const struct command command_worker_quiet = {
    "worker quiet", WHOM,
    "workers take no more jobs and finish those they have, until they are resumed, whatever "
    "restarts meanwhile",
    run_quiet};

static int run_resume(struct cli *cli)
{
    AUTO_VALUE(order_release) struct order order = {.cli = cli, .verb = "resume"};
    int code = find(&order, NULL, true);

    if (code != EXIT_DONE)
        return code;
    return finish(&order, workers_quiet(cli_db(cli), order.whom, false, by(&order), &order.e),
                  "resume");
}

const struct command command_worker_resume = {"worker resume", WHOM,
                                              "quiet workers take jobs again", run_resume};

static int run_stop(struct cli *cli)
{
    AUTO_VALUE(order_release) struct order order = {.cli = cli, .verb = "stop"};
    int code = find(&order, NULL, false);

    if (code != EXIT_DONE)
        return code;
    return finish(&order, workers_stop(cli_db(cli), order.whom, by(&order), &order.e), "stop");
}

const struct command command_worker_stop = {
    "worker stop", WHOM,
    "worker processes end as by SIGTERM and are not replaced; till-worker ends with its last one",
    run_stop};

static int run_restart(struct cli *cli)
{
    AUTO_VALUE(order_release) struct order order = {.cli = cli, .verb = "restart"};
    int code = find(&order, NULL, false);

    if (code != EXIT_DONE)
        return code;
    return finish(&order, workers_restart(cli_db(cli), order.whom, by(&order), &order.e),
                  "restart");
}

const struct command command_worker_restart = {
    "worker restart", WHOM,
    "worker processes finish their jobs, end and are replaced, one of a till-worker after the "
    "other",
    run_restart};

static int run_reset(struct cli *cli)
{
    AUTO_VALUE(order_release) struct order order = {.cli = cli, .verb = "reset"};
    int64_t count = 0;

    order.whom = cli_word(cli);
    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (!order.whom)
        return cli_usage("worker reset needs a worker (host:N), a host, or all");
    if (workers_forget(cli_db(cli), order.whom, &count, &order.e))
        return cli_fail(&order.e);
    if (cli->json)
        return print_json(json_pack("{s:s, s:s, s:I}", "whom", order.whom, "order", "reset",
                                    "forgotten", (json_int_t)count));
    (void)printf("%s: %" PRId64 " orders forgotten\n", order.whom, count);
    return EXIT_DONE;
}

const struct command command_worker_reset = {
    "worker reset", WHOM, "forgets what was ordered: workers are again as they were set up",
    run_reset};

/* ---- the size of the pool ---- */

static int read_slots(struct cli *cli, const char *verb, int *ret_slots)
{
    const char *word = cli_word(cli);
    int64_t slots;

    if (!word || !text_to_int(word, 1, WORKER_SLOTS_MAX, &slots))
        return cli_usage("worker %s needs a number from 1 to %d", verb, WORKER_SLOTS_MAX);
    *ret_slots = (int)slots;
    return EXIT_DONE;
}

static void print_size(const struct cli *cli, const struct worker_found *worker)
{
    if (cli->json)
        (void)print_json(json_pack("{s:s, s:i}", "worker", worker->name, "slots", worker->slots));
    else
        (void)printf("%-24s %d slots\n", worker->name, worker->slots);
}

static int grow(struct cli *cli, const char *verb, int sign)
{
    AUTO_VALUE(order_release) struct order order = {.cli = cli, .verb = verb};
    int slots = 0;
    int code = read_slots(cli, verb, &slots);

    if (code == EXIT_DONE)
        code = find(&order, WORKERS_ALL, false);
    if (code != EXIT_DONE)
        return code;
    if (workers_grow(cli_db(cli), &order.found, sign * slots, by(&order), &order.e))
        return cli_fail(&order.e);
    for (size_t i = 0; i < order.found.count; i++)
        if (order.found.items[i].is_alive)
            print_size(cli, &order.found.items[i]);
    return EXIT_DONE;
}

static int run_grow(struct cli *cli) { return grow(cli, "grow", 1); }

const struct command command_worker_grow = {
    "worker grow", "N [" WHOM "]", "each of these worker processes runs N jobs more at a time",
    run_grow};

static int run_shrink(struct cli *cli) { return grow(cli, "shrink", -1); }

const struct command command_worker_shrink = {
    "worker shrink", "N [" WHOM "]",
    "each of these worker processes runs N jobs fewer at a time; what runs is finished",
    run_shrink};

static int run_scale(struct cli *cli)
{
    AUTO_VALUE(order_release) struct order order = {.cli = cli, .verb = "scale"};
    char what[32];
    int slots = 0;
    int code = read_slots(cli, "scale", &slots);

    if (code == EXIT_DONE)
        code = find(&order, WORKERS_ALL, true);
    if (code != EXIT_DONE)
        return code;
    (void)snprintf(what, sizeof what, "scale %d", slots);
    return finish(&order, workers_scale(cli_db(cli), order.whom, slots, by(&order), &order.e),
                  what);
}

const struct command command_worker_scale = {"worker scale", "N [" WHOM "]",
                                             "each of these worker processes runs N jobs at a time",
                                             run_scale};

/* "2-16" */
static bool read_bounds(const char *word, int *ret_min, int *ret_max)
{
    const char *dash = word ? strchr(word, '-') : NULL;
    char first[8];
    int64_t min;
    int64_t max;

    if (!dash || (size_t)(dash - word) >= sizeof first)
        return false;
    (void)snprintf(first, sizeof first, "%.*s", (int)(dash - word), word);
    if (!text_to_int(first, 1, WORKER_SLOTS_MAX, &min) ||
        !text_to_int(dash + 1, min, WORKER_SLOTS_MAX, &max))
        return false;
    *ret_min = (int)min;
    *ret_max = (int)max;
    return true;
}

static int run_autoscale(struct cli *cli)
{
    AUTO_VALUE(order_release) struct order order = {.cli = cli, .verb = "autoscale"};
    const char *word = cli_word(cli);
    bool off = word && strcmp(word, "off") == 0;
    char what[32];
    enum err_code rc;
    int min = 0;
    int max = 0;
    int code;

    if (!off && !read_bounds(word, &min, &max))
        return cli_usage("worker autoscale needs MIN-MAX, from 1 to %d, or off", WORKER_SLOTS_MAX);
    (void)snprintf(what, sizeof what, "autoscale %s", word);
    code = find(&order, WORKERS_ALL, true);
    if (code != EXIT_DONE)
        return code;
    rc = off ? workers_scale(cli_db(cli), order.whom, 0, by(&order), &order.e)
             : workers_autoscale(cli_db(cli), order.whom, min, max, by(&order), &order.e);
    return finish(&order, rc, what);
}

const struct command command_worker_autoscale = {
    "worker autoscale", "MIN-MAX|off [" WHOM "]",
    "each of these worker processes finds its own size by the age of what waits; off: the size it "
    "was set up with",
    run_autoscale};

/* ---- queues ---- */

static int order_consumer(struct cli *cli, const char *verb, bool consume)
{
    AUTO_VALUE(order_release) struct order order = {.cli = cli, .verb = verb};
    const char *queue = cli_word(cli);
    char what[64 + QUEUE_LIST_NAME_MAX];
    int code;

    if (!queue || !text_is_name(queue))
        return cli_usage("worker %s needs the name of a queue", verb);
    (void)snprintf(what, sizeof what, "%s %s", verb, queue);
    code = find(&order, WORKERS_ALL, true);
    if (code != EXIT_DONE)
        return code;
    return finish(&order,
                  workers_consume(cli_db(cli), order.whom, queue, consume, by(&order), &order.e),
                  what);
}

static int run_add_consumer(struct cli *cli) { return order_consumer(cli, "add-consumer", true); }

const struct command command_worker_add_consumer = {
    "worker add-consumer", "QUEUE [" WHOM "]",
    "these workers consume the queue, too, whatever restarts meanwhile", run_add_consumer};

static int run_cancel_consumer(struct cli *cli)
{
    return order_consumer(cli, "cancel-consumer", false);
}

const struct command command_worker_cancel_consumer = {
    "worker cancel-consumer", "QUEUE [" WHOM "]",
    "these workers no longer consume the queue, although TILL_QUEUES names it; what they hold of "
    "it is finished",
    run_cancel_consumer};

/* ---- orders ---- */

static json_t *age_json(int64_t age_us)
{
    return age_us < 0 ? json_null() : json_integer(age_us / US_PER_S);
}

/* Queue -> whether it is consumed. */
static json_t *consumers_json(const struct worker_order *order)
{
    json_t *consumers = json_object();

    for (size_t i = 0; i < order->consumer_count; i++)
        (void)json_object_set_new(consumers, order->consumers[i].queue,
                                  json_boolean(order->consumers[i].consumes));
    return consumers;
}

static json_t *order_json(const struct worker_order *order)
{
    char at[CLOCK_TEXT_SIZE];

    clock_format(order->ordered_us, at);
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s?}", "whom", order->whom, "quiet",
                     order->says_quiet ? json_boolean(order->quiet) : json_null(), "slots",
                     order->slots ? json_integer(order->slots) : json_null(), "autoscale",
                     order->slots_max ? json_pack("[ii]", order->slots_min, order->slots_max)
                                      : json_null(),
                     "stop_seconds_ago", age_json(order->stop_age_us), "restart_seconds_ago",
                     age_json(order->restart_age_us), "queues", consumers_json(order), "ordered_at",
                     at, "ordered_by", *order->ordered_by ? order->ordered_by : NULL);
}

static void print_row(const struct worker_order *order)
{
    (void)printf("%-24s", order->whom);
    if (order->says_quiet)
        (void)printf(" %s", order->quiet ? "quiet" : "not quiet");
    if (order->slots_max)
        (void)printf("  autoscale %d-%d", order->slots_min, order->slots_max);
    else if (order->slots)
        (void)printf("  scale %d", order->slots);
    else if (order->says_size)
        (void)printf("  size as set up");
    for (size_t i = 0; i < order->consumer_count; i++)
        (void)printf("  %s %s", order->consumers[i].consumes ? "add-consumer" : "cancel-consumer",
                     order->consumers[i].queue);
    if (order->stop_age_us >= 0)
        (void)printf("  stop (%" PRId64 " s ago)", order->stop_age_us / US_PER_S);
    if (order->restart_age_us >= 0)
        (void)printf("  restart (%" PRId64 " s ago)", order->restart_age_us / US_PER_S);
    (void)printf("%s%s\n", *order->ordered_by ? "  by " : "", order->ordered_by);
}

static int run_orders(struct cli *cli)
{
    AUTO_VALUE(worker_order_list_release) struct worker_order_list list = {0};
    struct err e = {0};

    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (worker_orders_list(cli_db(cli), &list, &e))
        return cli_fail(&e);
    for (size_t i = 0; i < list.count; i++) {
        if (cli->json)
            (void)print_json(order_json(&list.items[i]));
        else
            print_row(&list.items[i]);
    }
    return EXIT_DONE;
}

const struct command command_worker_orders = {
    "worker orders", "", "lists what was ordered of workers and still holds", run_orders};
