/* SPDX-License-Identifier: MIT
 *
 * Offsets of a zone that was read; see zone.h. Before the last listed change a search in the list,
 * after it the closing rule, worked out for the years around the instant that is asked for.
 */
#include "common/zone.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/civil.h"

/* When the rule's date comes in a year, by the clock that is in use until then, in UTC. */
static int64_t instant_of(const struct zone_date *date, int64_t year, int32_t offset)
{
    int64_t days = civil_to_days(year, 1, 1);
    int first;

    switch (date->kind) {
    case ZONE_DATE_DAY:
        days += date->day;
        break;
    case ZONE_DATE_DAY_NO_LEAP:
        days += date->day - 1 + (civil_is_leap(year) && date->day >= 60);
        break;
    case ZONE_DATE_MONTH:
        days = civil_to_days(year, date->month, 1);
        first = (date->day - civil_weekday(days) + 7) % 7;
        first += 7 * (date->week - 1);
        if (first >= civil_month_length(year, date->month))
            first -= 7;
        days += first;
        break;
    }
    return days * CIVIL_DAY_S + date->time_s - offset;
}

struct event {
    int64_t at;
    int32_t offset;
};

enum { RULE_YEARS = 3, RULE_EVENTS = 2 * RULE_YEARS };

/* The changes of the years around an instant, in order. Where two meet (summer time all year long
 * is written so), the later of the list is what is left. */
static int list_events(const struct zone_rule *rule, int64_t year, struct event *events)
{
    int count = 0;

    for (int64_t y = year - 1; y < year - 1 + RULE_YEARS; y++) {
        struct event both[2] = {
            {instant_of(&rule->to_summer, y, rule->standard), rule->summer},
            {instant_of(&rule->to_standard, y, rule->summer), rule->standard},
        };
        bool swapped = both[1].at < both[0].at;

        for (int i = 0; i < 2; i++) {
            int at = count++;

            for (; at > 0 && events[at - 1].at > both[swapped ? 1 - i : i].at; at--)
                events[at] = events[at - 1];
            events[at] = both[swapped ? 1 - i : i];
        }
    }
    return count;
}

/* Puts a change behind those of a span that begins at or before `at`. False: it ends the span. */
static bool walk(struct zone_span *span, const struct event *event, int64_t at)
{
    if (event->at > at) {
        if (event->offset == span->offset)
            return true;
        span->end = event->at;
        return false;
    }
    if (event->offset != span->offset) {
        span->before = event->at == span->start ? span->before : span->offset;
        span->start = event->at;
        span->offset = event->offset;
    }
    return true;
}

static struct zone_span rule_span(const struct zone *zone, int64_t at)
{
    const struct zone_rule *rule = &zone->rule;
    struct zone_span span = {
        .start = zone->count > 0 ? zone->at[zone->count - 1] : INT64_MIN,
        .end = INT64_MAX,
        .offset = zone->offset[zone->count],
        .before = zone->offset[zone->count > 0 ? zone->count - 1 : 0],
    };
    struct event events[RULE_EVENTS] = {{0}};
    int64_t year = civil_of_days(civil_day_of(at)).year;
    int count = list_events(rule, year, events);
    int first = 0;

    while (first < count && events[first].at <= zone->rule_from)
        first++;
    if (first == 0) { /* years after the last listed change: what was before is the other clock */
        span.offset = events[0].offset == rule->summer ? rule->standard : rule->summer;
        span.before = span.offset;
    }
    for (int i = first; i < count; i++) {
        /* Of two at the same instant, only the later counts. */
        if (i + 1 < count && events[i + 1].at == events[i].at)
            continue;
        if (!walk(&span, &events[i], at))
            break;
    }
    return span;
}

struct zone_span zone_span_at(const struct zone *zone, int64_t at)
{
    int low = 0;
    int high = zone->count;

    if (at >= zone->rule_from && zone->rule.changes)
        return rule_span(zone, at);
    while (low < high) {
        int middle = (low + high) / 2;

        if (zone->at[middle] <= at)
            low = middle + 1;
        else
            high = middle;
    }
    /* Without a listed change ahead, the rule's first one may still come. */
    if (low == zone->count && zone->rule.changes)
        return rule_span(zone, zone->rule_from);
    return (struct zone_span){
        .start = low > 0 ? zone->at[low - 1] : INT64_MIN,
        .end = low < zone->count ? zone->at[low] : INT64_MAX,
        .offset = zone->offset[low],
        .before = zone->offset[low > 0 ? low - 1 : 0],
    };
}

void zone_format(const struct zone *zone, int64_t at, char out[ZONE_TEXT_SIZE])
{
    int32_t offset = zone_span_at(zone, at).offset;
    int32_t minutes = (offset + (offset < 0 ? -30 : 30)) / 60;
    int64_t local = at + minutes * INT64_C(60);
    int64_t days = civil_day_of(local);
    int64_t second = local - days * CIVIL_DAY_S;
    struct civil date = civil_of_days(days);
    int32_t west = minutes < 0 ? -minutes : minutes;

    (void)snprintf(out, ZONE_TEXT_SIZE,
                   "%04" PRId64 "-%02d-%02dT%02d:%02d:%02d%c%02" PRId32 ":%02" PRId32, date.year,
                   date.month, date.day, (int)(second / 3600), (int)(second / 60 % 60),
                   (int)(second % 60), minutes < 0 ? '-' : '+', west / 60, west % 60);
}
