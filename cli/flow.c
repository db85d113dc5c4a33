/* SPDX-License-Identifier: MIT
 *
 * till flow run, list, show, cancel: chains and groups, declared from a file and watched.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/jobs.h"
#include "cli/wait.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/flow_json.h"
#include "common/flows.h"
#include "common/mem.h"
#include "common/redact.h"
#include "common/text.h"

#define PAUSE_FIRST_US (5 * US_PER_MS)
#define PAUSE_MAX_US (250 * US_PER_MS)
/* Jobs that are just changing are skipped, and met again. */
#define CANCEL_MAX_US (30 * US_PER_S)

enum { CANCEL_BATCH = 500, MEMBERS_DEFAULT = 100 };

/* ---- watching ---- */

static void print_flow(const struct flow_view *flow)
{
    char created[CLOCK_TEXT_SIZE];

    clock_format(flow->created_us, created);
    (void)printf("%s  %-8s %3d%%  %" PRId64 "/%" PRId64 " done  %.19sZ  %s\n", flow->id.text,
                 job_state_name(flow->state), flow_percent(flow), flow->counts[JOB_SUCCESS],
                 flow->total, created, flow->name ? flow->name : "");
}

static int print_state(struct cli *cli, const struct flow_view *flow)
{
    if (cli->json)
        return print_json(flow_json(flow));
    print_flow(flow);
    for (int i = 0; i < JOB_STATE_COUNT; i++)
        if (flow->counts[i] > 0)
            (void)printf("  %-8s %" PRId64 "\n", job_state_name((enum job_state)i),
                         flow->counts[i]);
    if (flow->waiting > 0)
        (void)printf("  of PENDING, %" PRId64 " wait for others\n", flow->waiting);
    return EXIT_DONE;
}

/* Waits until the flow is over (`timeout_s` 0: as long as it takes) and prints how it stands. */
static int wait_for_flow(struct cli *cli, const struct uuid *id, int64_t timeout_s)
{
    int64_t deadline_us = clock_mono_us() + timeout_s * US_PER_S;
    int64_t answered_us = clock_mono_us();

    for (int64_t pause = PAUSE_FIRST_US;; pause = pause * 3 / 2) {
        AUTO_VALUE(flows_page_release) struct flows_page page = {0};
        struct err e = {0};
        enum err_code rc = flows_find(cli_db(cli), id, &page, &e);
        int64_t left_us = deadline_us - clock_mono_us();

        if (!wait_goes_on(rc, &answered_us))
            return cli_fail(&e);
        if (!rc && page.items[0].finished_us) {
            int code = print_state(cli, &page.items[0]);

            return code == EXIT_DONE && page.items[0].state != JOB_SUCCESS ? EXIT_FAILED : code;
        }
        if (timeout_s && left_us <= 0) {
            (void)fprintf(stderr,
                          "till: flow %s is not over after %" PRId64 " s; it is not cancelled\n",
                          id->text, timeout_s);
            return EXIT_FAILED;
        }
        pause = pause < PAUSE_MAX_US ? pause : PAUSE_MAX_US;
        wait_pause(timeout_s && left_us < pause ? left_us : pause);
    }
}

static int read_wait(struct cli *cli, bool *ret_wait, int64_t *ret_timeout_s)
{
    const char *timeout = cli_option(cli, "timeout");

    *ret_wait = cli_flag(cli, "wait");
    *ret_timeout_s = 0;
    if (timeout && !*ret_wait)
        return cli_usage("--timeout belongs to --wait");
    if (timeout && !text_to_int(timeout, 1, INT64_C(366) * 86400, ret_timeout_s))
        return cli_usage("--timeout is a number of seconds, at least 1");
    return EXIT_DONE;
}

/* ---- run ---- */

static enum err_code read_file(const char *path, struct buf *text, struct err *e)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    char part[16 * 1024];
    size_t got;
    bool failed;

    if (!file)
        return err_set(e, ERR_NOT_FOUND, "\"%.100s\" cannot be opened: %s", path,
                       strerrordesc_np(errno));
    while ((got = fread(part, 1, sizeof part, file)) > 0 && !text->overflow)
        buf_add(text, part, got);
    failed = ferror(file) != 0;
    if (file != stdin)
        (void)fclose(file);
    if (text->overflow)
        return err_set(e, ERR_INVALID, "a flow is at most %d bytes", FLOW_BYTES_MAX);
    return failed ? err_set(e, ERR_UNAVAILABLE, "the flow cannot be read") : ERR_OK;
}

static enum err_code read_flow(const char *path, const char *name, json_t **ret_flow, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf text;
    AUTO(json_decref) json_t *flow = NULL;
    enum err_code rc;

    buf_init(&text, FLOW_BYTES_MAX);
    rc = read_file(path, &text, e);
    if (!rc)
        rc = json_read(text.data, text.len, FLOW_BYTES_MAX, &flow, e);
    if (rc)
        return rc;
    if (name && json_is_object(flow) && json_object_set_new(flow, "name", json_string(name)) < 0)
        return err_set(e, ERR_INVALID, "the name of a flow is UTF-8 text");
    *ret_flow = TAKE(flow);
    return ERR_OK;
}

static int run_run(struct cli *cli)
{
    AUTO(json_decref) json_t *flow = NULL;
    const char *name = cli_option(cli, "name");
    const char *path;
    bool wait = false;
    int64_t timeout_s = 0;
    int code = read_wait(cli, &wait, &timeout_s);
    struct uuid id;
    struct err e = {0};

    if (code != EXIT_DONE)
        return code;
    path = cli_word(cli);
    if (!path)
        return cli_usage("flow run needs a file, or '-' for standard input");
    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (read_flow(path, name, &flow, &e) || flows_insert(cli_db(cli), flow, &id, &e))
        return cli_fail(&e);
    CRASH_POINT("flow.declared");
    (void)printf(cli->json ? "{\"id\":\"%s\"}\n" : "%s\n", id.text);
    (void)fflush(stdout);
    return wait ? wait_for_flow(cli, &id, timeout_s) : EXIT_DONE;
}

const struct command command_flow_run = {
    "flow run", "FILE [--name NAME] [--wait [--timeout S]]",
    "adds the jobs of a flow, all or none, and prints its id; FILE ('-': standard input) is JSON:"
    " {\"chain\": [...]} or {\"group\": [...], \"callback\": {...}, \"on_complete\": {...}}, of"
    " these and of jobs {\"task\": ..., \"args\": [...]}",
    run_run};

/* ---- list ---- */

static int run_list(struct cli *cli)
{
    AUTO_VALUE(flows_page_release) struct flows_page page = {0};
    const char *limit = cli_option(cli, "limit");
    struct flows_filter filter = {.cursor = cli_option(cli, "after"),
                                  .open_only = cli_flag(cli, "open")};
    int64_t number = 20;
    struct err e = {0};
    int code = EXIT_DONE;

    if (limit && !text_to_int(limit, 1, FLOWS_LIMIT_MAX, &number))
        return cli_usage("--limit is a number from 1 to %d", FLOWS_LIMIT_MAX);
    filter.limit = (int)number;
    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (flows_list(cli_db(cli), &filter, &page, &e))
        return cli_fail(&e);
    for (size_t i = 0; i < page.count && code == EXIT_DONE; i++) {
        if (cli->json)
            code = print_json(flow_json(&page.items[i]));
        else
            print_flow(&page.items[i]);
    }
    if (!cli->json && page.has_more)
        (void)printf("more: till flow list %s--after %s\n", filter.open_only ? "--open " : "",
                     page.next.text);
    return code;
}

const struct command command_flow_list = {
    "flow list", "[--open] [--limit N] [--after UUID]",
    "lists flows, newest first, with how far they are; --open: those that are not over", run_list};

/* ---- show ---- */

/* Why one that is PENDING is not even ready. */
static void print_wait(const struct flow_member *member)
{
    if (!member->waits || member->state != JOB_PENDING)
        return;
    if (member->waits_for)
        (void)printf("  (waits for %s: retry that one)", member->waits_for);
    else
        (void)printf("  (waits for others)");
}

static void print_member(const struct flow_member *member)
{
    AUTO(mem_free) char *error = member->error ? redact_text(member->error) : NULL;

    (void)printf("%6" PRId64 "  %s  %-8s %3d/%-3d %-12s %s", member->step, member->id.text,
                 job_state_name(member->state), member->attempt, member->max_attempts,
                 member->queue, member->task);
    print_wait(member);
    /* What stopped it before it was retried is told by whom it waits for. */
    (void)printf("%s%s\n", error && !member->waits_for ? "  " : "",
                 error && !member->waits_for ? error : "");
}

static int show(struct cli *cli, const struct uuid *id, int64_t after, int limit)
{
    AUTO_VALUE(flows_page_release) struct flows_page page = {0};
    AUTO_VALUE(flow_members_release) struct flow_members members = {0};
    struct err e = {0};
    int code;

    if (flows_find(cli_db(cli), id, &page, &e) ||
        flows_members(cli_db(cli), id, after, JOBS_ANY_STATE, limit, &members, &e))
        return cli_fail(&e);
    if (cli->json) {
        json_t *flow = flow_json(&page.items[0]);
        json_t *list = flow_members_json(&members);

        (void)json_object_update(flow, list);
        json_decref(list);
        return print_json(flow);
    }
    code = print_state(cli, &page.items[0]);
    for (size_t i = 0; i < members.count; i++)
        print_member(&members.items[i]);
    if (members.has_more)
        (void)printf("more: till flow show %s --after %" PRId64 "\n", id->text,
                     members.items[members.count - 1].step);
    return code;
}

static int read_id(struct cli *cli, struct uuid *ret_id)
{
    const char *word = cli_word(cli);

    if (!word || !uuid_parse(word, ret_id))
        return cli_usage("the UUID of a flow must be given");
    return cli_is_done(cli) ? EXIT_DONE : EXIT_USAGE;
}

static int run_show(struct cli *cli)
{
    const char *after = cli_option(cli, "after");
    const char *limit = cli_option(cli, "limit");
    int64_t first = 0;
    int64_t number = MEMBERS_DEFAULT;
    int64_t timeout_s = 0;
    bool wait = false;
    struct uuid id;
    int code = read_wait(cli, &wait, &timeout_s);

    if (code != EXIT_DONE)
        return code;
    if (after && !text_to_int(after, 0, INT32_MAX, &first))
        return cli_usage("--after is the number of a step");
    if (limit && !text_to_int(limit, 1, FLOW_MEMBERS_PAGE_MAX, &number))
        return cli_usage("--limit is a number from 1 to %d", FLOW_MEMBERS_PAGE_MAX);
    code = read_id(cli, &id);
    if (code != EXIT_DONE)
        return code;
    return wait ? wait_for_flow(cli, &id, timeout_s) : show(cli, &id, first, (int)number);
}

const struct command command_flow_show = {
    "flow show", "UUID [--limit N] [--after STEP] [--wait [--timeout S]]",
    "shows a flow and its jobs in their order; --wait waits until it is over and shows how it"
    " ended (exit code 1 unless SUCCESS)",
    run_show};

/* ---- cancel ---- */

static int run_cancel(struct cli *cli)
{
    int64_t deadline_us = clock_mono_us() + CANCEL_MAX_US;
    int64_t left = 1;
    struct err e = {0};
    struct uuid id;
    int code = read_id(cli, &id);

    if (code != EXIT_DONE)
        return code;
    if (flows_begin_cancel(cli_db(cli), &id, &e))
        return cli_fail(&e);
    while (left > 0) {
        int64_t revoked = 0;

        if (flows_go_on_cancelling(cli_db(cli), &id, CANCEL_BATCH, &revoked, &left, &e))
            return cli_fail(&e);
        if (left > 0 && clock_mono_us() > deadline_us) {
            (void)fprintf(stderr,
                          "till: %" PRId64 " %s of flow %s still %s; the scheduler goes on with"
                          " them, and so does another cancel\n",
                          left, left == 1 ? "job" : "jobs", id.text,
                          left == 1 ? "changes" : "change");
            return EXIT_FAILED;
        }
        if (left > 0 && revoked == 0)
            wait_pause(PAUSE_FIRST_US);
    }
    (void)printf(cli->json ? "{\"id\":\"%s\",\"done\":\"cancelled\"}\n" : "%s cancelled\n",
                 id.text);
    return EXIT_DONE;
}

const struct command command_flow_cancel = {
    "flow cancel", "UUID",
    "revokes all jobs of a flow that are not over; a retry of one lets the flow go on from there",
    run_cancel};
