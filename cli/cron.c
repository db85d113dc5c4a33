/* SPDX-License-Identifier: MIT
 *
 * till cron next: when an expression comes, as a dry run. The times go to stdout and nothing else;
 * what may surprise about them goes to stderr.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "common/civil.h"
#include "common/clock.h"
#include "common/cron.h"
#include "common/mem.h"
#include "common/text.h"

enum { EXIT_NEVER = 3, COUNT_MAX = 10000, YEAR_S = 366 * CIVIL_DAY_S };

/* What was asked for. */
struct dry_run {
    struct cron cron;
    struct zone *zone;
    int64_t from; /* seconds; times come after it */
    int64_t count;
};

static const char *const day_names[] = {
    [CRON_DAY_NONE] = "none",
    [CRON_DAY_EVERY] = "every",
    [CRON_DAY_OF_MONTH] = "day_of_month",
    [CRON_DAY_OF_WEEK] = "day_of_week",
    [CRON_DAY_BOTH] = "both",
};

/* What a change of the clock has to do with this time; NULL: nothing. */
static const char *change_at(const struct dry_run *run, int64_t at)
{
    struct zone_span span = zone_span_at(run->zone, at);
    int64_t local = at + span.offset;

    if (run->cron.every_s)
        return NULL;
    if (at == span.start && span.offset > span.before && !cron_matches(&run->cron, local))
        return "after_gap";
    if (span.start != INT64_MIN && local < span.start + span.before)
        return "second_pass";
    if (span.end != INT64_MAX && local >= span.end + zone_span_at(run->zone, span.end).offset)
        return "first_pass";
    return NULL;
}

static void print_time(const struct dry_run *run, int64_t at, bool json)
{
    int32_t offset = zone_span_at(run->zone, at).offset;
    const char *change = change_at(run, at);
    char text[ZONE_TEXT_SIZE];

    zone_format(run->zone, at, text);
    if (!json) {
        (void)printf("%s\n", text);
        return;
    }
    (void)printf("{\"time\":\"%s\",\"zone\":\"%s\",\"day\":\"%s\",\"change\":%s%s%s}\n", text,
                 run->zone->name,
                 run->cron.every_s
                     ? "every"
                     : day_names[cron_match_day(&run->cron, civil_day_of(at + offset))],
                 change ? "\"" : "", change ? change : "null", change ? "\"" : "");
}

/* ---- what may surprise ---- */

static void note_days(const struct cron *cron)
{
    bool any_day = cron->days_star && cron->days == UINT32_C(0xfffffffe);
    bool any_weekday = cron->weekdays_star && cron->weekdays == 0x7f;

    if (cron->every_s || any_day || any_weekday)
        return;
    (void)fprintf(stderr, "till: note: a day matches when %s\n",
                  cron->days_star || cron->weekdays_star
                      ? "both day of month and day of week match, since one of them begins with *"
                      : "day of month or day of week matches: one of them is enough");
}

static void note_change(const struct dry_run *run, const struct zone_span *span)
{
    bool gap = span->offset > span->before;
    int64_t size = gap ? span->offset - span->before : span->before - span->offset;
    const char *what = size > CRON_CHANGE_MAX_S ? "as the clock shows it"
                       : gap && run->cron.wild  ? "not at all"
                       : gap                    ? "once, right after it"
                       : run->cron.wild         ? "at both passes"
                                                : "at the first pass alone";
    char text[ZONE_TEXT_SIZE];

    zone_format(run->zone, span->start, text);
    (void)fprintf(stderr, "till: note: the clock goes %s at %s; what falls there comes %s\n",
                  gap ? "forward" : "back", text, what);
}

/* Changes of the clock within a year that this expression meets. */
static void note_changes(const struct dry_run *run)
{
    struct zone_span span = zone_span_at(run->zone, run->from);

    while (span.end < run->from + YEAR_S) {
        span = zone_span_at(run->zone, span.end);
        if (cron_meets_change(&run->cron, &span))
            note_change(run, &span);
    }
}

/* ---- the verb ---- */

static enum err_code read_from(const char *text, int64_t *ret_from, struct err *e)
{
    int64_t us = clock_wall_us();

    if (text && !clock_parse(text, &us))
        return err_set(e, ERR_INVALID,
                       "from \"%.40s\": this is no time of RFC 3339, as 2026-11-21T10:00:00+01:00 "
                       "is",
                       text);
    *ret_from = us / US_PER_S - (us % US_PER_S < 0 ? 1 : 0);
    return ERR_OK;
}

static enum err_code read_count(const char *text, int64_t *ret_count, struct err *e)
{
    *ret_count = 1;
    if (text && !text_to_int(text, 1, COUNT_MAX, ret_count))
        return err_set(e, ERR_INVALID, "count \"%.40s\": this is no whole number from 1 to %d",
                       text, COUNT_MAX);
    return ERR_OK;
}

static int print_times(const struct dry_run *run, bool json)
{
    int64_t at = run->from;

    for (int64_t i = 0; i < run->count; i++) {
        if (!cron_next(&run->cron, run->zone, at, &at)) {
            (void)fprintf(stderr, "till: this expression never comes%s\n",
                          i > 0 ? " again before the year 10000" : "");
            return EXIT_NEVER;
        }
        print_time(run, at, json);
    }
    return EXIT_DONE;
}

static int run_next(struct cli *cli)
{
    const char *zone = cli_option(cli, "tz");
    const char *from = cli_option(cli, "from");
    const char *count = cli_option(cli, "count");
    const char *text = cli_word(cli);
    AUTO(mem_free) struct zone *rules = mem_alloc(sizeof *rules);
    struct dry_run run = {.zone = rules};
    struct err e = {0};

    if (text && cli->argc > 0)
        return cli_usage("the expression is one word: put it in quotes");
    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (!text)
        return cli_usage("cron next needs an expression in quotes, as in '30 2 * * mon-fri'");
    if (cron_parse(text, &run.cron, &e) || zone_read(zone ? zone : "UTC", rules, &e) ||
        read_from(from, &run.from, &e) || read_count(count, &run.count, &e))
        return cli_fail(&e);
    note_days(&run.cron);
    note_changes(&run);
    return print_times(&run, cli->json);
}

const struct command command_cron_next = {
    "cron next", "EXPR [--tz ZONE] [--from RFC3339] [--count N]",
    "prints when a cron expression comes next, in UTC or the zone; exits with 3 when it never does",
    run_next};
