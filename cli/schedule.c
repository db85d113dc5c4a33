/* SPDX-License-Identifier: MIT
 *
 * till schedule list, history, run, pause, resume. Which schedules there are, the scheduler's file
 * says; what is ordered here stands in PostgreSQL and outlives every restart.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/jobs.h"
#include "common/clock.h"
#include "common/cron.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/schedules_view.h"
#include "common/task_secrets.h"
#include "common/text.h"

enum { HISTORY_DEFAULT = 20, HISTORY_MAX = 1000 };

/* A time in the schedule's zone: its wall clock is what the expression is about. */
static void format_time(const struct zone *zone, int64_t us, char out[ZONE_TEXT_SIZE])
{
    if (us == 0)
        (void)snprintf(out, ZONE_TEXT_SIZE, "-");
    else
        zone_format(zone, us / US_PER_S, out);
}

static json_t *json_time(const struct zone *zone, int64_t us)
{
    char text[ZONE_TEXT_SIZE];

    if (us == 0)
        return json_null();
    format_time(zone, us, text);
    return json_string(text);
}

static json_t *json_text(const char *text) { return text ? json_string(text) : json_null(); }

static const char *state_of(const struct schedule_view *view)
{
    return view->removed_us  ? "removed"
           : view->paused_us ? "paused"
           : view->problem   ? "broken"
                             : "active";
}

static void describe(const struct schedule_view *view, char out[CRON_DESCRIPTION_SIZE])
{
    struct cron cron;

    if (cron_parse(view->schedule.cron, &cron, NULL))
        out[0] = '\0';
    else
        cron_describe(&cron, out);
}

/* ---- list ---- */

static json_t *value_or_null(json_t *value) { return value ? json_incref(value) : json_null(); }

static json_t *view_json(const struct schedule_view *view, const struct job_shown *shown,
                         const struct zone *zone)
{
    const struct schedule *s = &view->schedule;
    char description[CRON_DESCRIPTION_SIZE];

    describe(view, description);
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:s, s:o, s:o, s:s, s:o, s:o,"
        " s:o, s:o, s:o, s:o}",
        "name", s->name, "cron", s->cron, "description", description, "zone", s->zone, "task",
        s->task, "args", value_or_null(shown->args), "kwargs", value_or_null(shown->kwargs),
        "queue", json_text(s->queue), "overlap", schedule_overlap_name(s->overlap), "catch_up_s",
        (json_int_t)s->catch_up_s, "catch_up_runs", (json_int_t)s->catch_up_runs, "jitter_s",
        (json_int_t)s->jitter_s, "state", state_of(view), "paused_by", json_text(view->paused_by),
        "problem", json_text(view->problem), "source", view->source, "next_tick",
        json_time(zone, view->next_tick_us), "next_run", json_time(zone, view->next_run_us),
        "waiting_tick", json_time(zone, view->waiting_tick_us), "last_tick",
        json_time(zone, view->last_tick_us), "last_job", json_text(view->last_job), "last_state",
        json_text(view->last_state));
}

static int print_view_json(struct cli *cli, const struct schedule_view *view,
                           const struct zone *zone)
{
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
    const struct schedule *s = &view->schedule;
    struct err e = {0};

    if (task_shown_make(cli_db(cli), s->task, s->args, s->kwargs, &shown, &e))
        return cli_fail(&e);
    return print_json(view_json(view, &shown, zone));
}

static void print_view(const struct schedule_view *view, const struct zone *zone)
{
    char description[CRON_DESCRIPTION_SIZE];
    char next[ZONE_TEXT_SIZE];
    char last[ZONE_TEXT_SIZE];

    describe(view, description);
    format_time(zone, view->next_run_us, next);
    format_time(zone, view->last_tick_us, last);
    (void)printf("%s  %s%s%s%s\n  %s (%s), %s\n  task %s%s%s\n  next %s  last %s %s\n",
                 view->schedule.name, state_of(view), view->removed_us ? ", paused" : "",
                 view->paused_by ? " by " : "", view->paused_by ? view->paused_by : "",
                 view->schedule.cron, description, view->schedule.zone, view->schedule.task,
                 view->schedule.queue ? " on queue " : "",
                 view->schedule.queue ? view->schedule.queue : "", next, last,
                 view->last_state ? view->last_state : "");
    if (view->removed_us)
        (void)printf("  it is not in the scheduler's file; when it comes back it is paused, unless"
                     " \"till schedule resume %s\" forgets that\n",
                     view->schedule.name);
    if (view->problem)
        (void)printf("  problem: %s\n", view->problem);
    if (view->waiting_tick_us)
        (void)printf("  a run waits for the one before it\n");
}

/* UTC stands in for a zone that this machine does not have. */
static void read_zone(const char *name, struct zone *zone)
{
    if (zone_read(name, zone, NULL))
        (void)!zone_read("UTC", zone, NULL);
}

static int run_list(struct cli *cli)
{
    AUTO_VALUE(schedule_views_release) struct schedule_views views = {0};
    AUTO(mem_free) struct zone *zone = mem_alloc(sizeof *zone);
    const char *name = cli_word(cli);
    struct err e = {0};
    int code = EXIT_DONE;

    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (name && !text_is_name(name))
        return cli_usage("schedule list takes the name of a schedule, or none");
    if (schedules_list(cli_db(cli), name, &views, &e))
        return cli_fail(&e);
    if (name && views.count == 0) {
        (void)err_set(&e, ERR_NOT_FOUND, "there is no schedule \"%.100s\"", name);
        return cli_fail(&e);
    }
    for (size_t i = 0; i < views.count && code == EXIT_DONE; i++) {
        read_zone(views.items[i].schedule.zone, zone);
        if (cli->json)
            code = print_view_json(cli, &views.items[i], zone);
        else
            print_view(&views.items[i], zone);
    }
    return code;
}

const struct command command_schedule_list = {
    "schedule list", "[NAME]",
    "lists schedules with expression, zone, next and last run, and state", run_list};

/* ---- history ---- */

static json_t *event_json(const struct schedule_event *event)
{
    char tick[CLOCK_TEXT_SIZE];
    char decided[CLOCK_TEXT_SIZE];
    char finished[CLOCK_TEXT_SIZE];

    clock_format(event->tick_us, tick);
    clock_format(event->decided_us, decided);
    clock_format(event->finished_us, finished);
    return json_pack("{s:s, s:s, s:o, s:I, s:b, s:s, s:o, s:o, s:o}", "tick", tick, "outcome",
                     event->outcome, "reason", json_text(event->reason), "ticks",
                     (json_int_t)event->ticks, "by_hand", event->by_hand, "decided_at", decided,
                     "job", json_text(event->job), "state", json_text(event->state), "finished_at",
                     json_text(event->finished_us ? finished : NULL));
}

static void print_event(const struct schedule_event *event)
{
    char tick[CLOCK_TEXT_SIZE];

    clock_format(event->tick_us, tick);
    (void)printf("%s  %-8s", tick, event->outcome);
    if (event->job)
        (void)printf("  %s %s", event->job, event->state ? event->state : "");
    if (event->ticks > 1)
        (void)printf("  %" PRId64 "%s ticks", event->ticks,
                     event->ticks == SCHEDULE_COUNT_MAX ? " or more" : "");
    if (event->reason)
        (void)printf("  %s", event->reason);
    (void)printf("\n");
}

static bool is_known(struct cli *cli, const char *name, struct err *e)
{
    AUTO_VALUE(schedule_views_release) struct schedule_views views = {0};

    if (schedules_list(cli_db(cli), name, &views, e))
        return false;
    if (views.count == 0)
        (void)err_set(e, ERR_NOT_FOUND, "there is no schedule \"%.60s\"", name);
    return views.count > 0;
}

static int run_history(struct cli *cli)
{
    AUTO_VALUE(schedule_events_release) struct schedule_events events = {0};
    const char *limit_text = cli_option(cli, "limit");
    const char *name = cli_word(cli);
    int64_t limit = HISTORY_DEFAULT;
    struct err e = {0};
    int code = EXIT_DONE;

    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (!name || !text_is_name(name))
        return cli_usage("schedule history needs the name of a schedule");
    if (limit_text && !text_to_int(limit_text, 1, HISTORY_MAX, &limit))
        return cli_usage("limit \"%.40s\" is no whole number from 1 to %d", limit_text,
                         HISTORY_MAX);
    if (schedules_history(cli_db(cli), name, 0, (int)limit, &events, &e))
        return cli_fail(&e);
    if (events.count == 0 && !is_known(cli, name, &e))
        return cli_fail(&e);
    for (size_t i = 0; i < events.count && code == EXIT_DONE; i++) {
        if (cli->json)
            code = print_json(event_json(&events.items[i]));
        else
            print_event(&events.items[i]);
    }
    return code;
}

const struct command command_schedule_history = {
    "schedule history", "NAME [--limit N]",
    "tells what became of a schedule's ticks, newest first: fired, skipped, missed, waiting",
    run_history};

/* ---- orders ---- */

static int read_name(struct cli *cli, const char *verb, const char **ret_name)
{
    *ret_name = cli_word(cli);
    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (!*ret_name || !text_is_name(*ret_name))
        return cli_usage("schedule %s needs the name of a schedule", verb);
    return EXIT_DONE;
}

static int print_change(const struct cli *cli, const char *name, bool paused, bool changed)
{
    if (cli->json)
        (void)printf("{\"schedule\":\"%s\",\"paused\":%s,\"changed\":%s}\n", name,
                     paused ? "true" : "false", changed ? "true" : "false");
    else
        (void)printf("schedule %s %s %s\n", name, changed ? "is now" : "was already",
                     paused ? "paused" : "active");
    return EXIT_DONE;
}

static int run_pause(struct cli *cli)
{
    const char *name = NULL;
    char user[100];
    bool changed = false;
    struct err e = {0};
    int code = read_name(cli, "pause", &name);

    if (code != EXIT_DONE)
        return code;
    cli_user(user, sizeof user);
    if (schedules_pause(cli_db(cli), name, *user ? user : NULL, &changed, &e))
        return cli_fail(&e);
    return print_change(cli, name, true, changed);
}

const struct command command_schedule_pause = {
    "schedule pause", "NAME",
    "a schedule does not run until it is resumed; ticks of that time are not made up for",
    run_pause};

/* Whether only its pause is left of it. */
static bool is_removed(struct cli *cli, const char *name)
{
    AUTO_VALUE(schedule_views_release) struct schedule_views views = {0};

    return !schedules_list(cli_db(cli), name, &views, NULL) && views.count > 0 &&
           views.items[0].removed_us != 0;
}

static int run_resume(struct cli *cli)
{
    const char *name = NULL;
    bool was_removed;
    bool changed = false;
    struct err e = {0};
    int code = read_name(cli, "resume", &name);

    if (code != EXIT_DONE)
        return code;
    was_removed = is_removed(cli, name);
    if (schedules_resume(cli_db(cli), name, &changed, &e))
        return cli_fail(&e);
    if (!was_removed || !changed || cli->json)
        return print_change(cli, name, false, changed);
    (void)printf("schedule %s is not in the scheduler's file; its pause is forgotten\n", name);
    return EXIT_DONE;
}

const struct command command_schedule_resume = {
    "schedule resume", "NAME", "a paused schedule runs again, from its next tick on", run_resume};

static int run_now(struct cli *cli)
{
    struct job_ready ready;
    const char *name = NULL;
    char user[100];
    struct err e = {0};
    int code = read_name(cli, "run", &name);

    if (code != EXIT_DONE)
        return code;
    cli_user(user, sizeof user);
    if (schedules_run_now(cli_db(cli), name, *user ? user : NULL, &ready, &e))
        return cli_fail(&e);
    push_jobs(cli, &(struct job_list){.items = &ready, .count = 1});
    if (cli->json)
        (void)printf("{\"schedule\":\"%s\",\"id\":\"%s\"}\n", name, ready.id.text);
    else
        (void)printf("%s\n", ready.id.text);
    return EXIT_DONE;
}

const struct command command_schedule_run = {
    "schedule run", "NAME", "runs a schedule's job now, paused or not, and prints its id", run_now};
