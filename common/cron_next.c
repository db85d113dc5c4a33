/* SPDX-License-Identifier: MIT
 *
 * When a cron expression comes next; see cron.h. Time is walked in spans of one offset, within
 * which the wall clock runs straight on, so each span is searched by local time and every answer is
 * an instant from the start. What the two ends of a span add is all there is to daylight saving:
 * fixed times of the gap before it, and fixed times that it repeats.
 *
 * The work is bounded by the 400 years after which both calendar and closing rule repeat, walked by
 * days of matching months alone.
 */
#include "common/civil.h"
#include "common/cron.h"

enum { MONTHS_OF_31 = 0x15aa, MONTHS_OF_30 = 0x0a50, FEBRUARY = 1 << 2, ALL_WEEKDAYS = 0x7f };

#define ALL_DAYS UINT32_C(0xfffffffe)
/* 0001-01-01T00:00:00Z and 10000-01-01T00:00:00Z: what RFC 3339 can write lies between. */
#define YEAR_1_S INT64_C(-62135596800)
#define YEAR_10000_S INT64_C(253402300800)

/* ---- days ---- */

bool cron_can_come(const struct cron *cron)
{
    bool by_date = ((cron->months & MONTHS_OF_31) && cron->days) ||
                   ((cron->months & MONTHS_OF_30) && (cron->days & ~(UINT32_C(1) << 31))) ||
                   ((cron->months & FEBRUARY) && (cron->days & ~(UINT32_C(3) << 30)));

    /* In 400 years each date, 29 February too, falls on each day of the week. */
    return cron->every_s || by_date || (!cron->days_star && !cron->weekdays_star);
}

static enum cron_day match_date(const struct cron *cron, const struct civil *date, int64_t days)
{
    bool of_month = (cron->days >> date->day & 1) != 0;
    bool of_week = (cron->weekdays >> civil_weekday(days) & 1) != 0;
    bool both = of_month && of_week;

    if (!(cron->months >> date->month & 1))
        return CRON_DAY_NONE;
    if (cron->days_star || cron->weekdays_star) {
        bool any_day = cron->days == ALL_DAYS;
        bool any_weekday = cron->weekdays == ALL_WEEKDAYS;

        return !both                    ? CRON_DAY_NONE
               : any_day && any_weekday ? CRON_DAY_EVERY
               : any_weekday            ? CRON_DAY_OF_MONTH
               : any_day                ? CRON_DAY_OF_WEEK
                                        : CRON_DAY_BOTH;
    }
    return both       ? CRON_DAY_BOTH
           : of_month ? CRON_DAY_OF_MONTH
           : of_week  ? CRON_DAY_OF_WEEK
                      : CRON_DAY_NONE;
}

enum cron_day cron_match_day(const struct cron *cron, int64_t days)
{
    struct civil date = civil_of_days(days);

    return match_date(cron, &date, days);
}

/* The first matching day from `days` on, before `end`. */
static bool next_day(const struct cron *cron, int64_t days, int64_t end, int64_t *ret_days)
{
    struct civil date = civil_of_days(days);

    while (days < end) {
        int length = civil_month_length(date.year, date.month);

        if (cron->months >> date.month & 1) {
            for (; date.day <= length && days < end; date.day++, days++) {
                if (match_date(cron, &date, days) != CRON_DAY_NONE) {
                    *ret_days = days;
                    return true;
                }
            }
        } else {
            days += length - date.day + 1;
        }
        date.day = 1;
        date.year += date.month == 12;
        date.month = date.month == 12 ? 1 : date.month + 1;
    }
    return false;
}

/* ---- times of a day ---- */

/* The lowest bit at or above `from`; -1 when there is none. */
static int next_bit(uint64_t bits, int from)
{
    uint64_t left = from < 64 ? bits >> from << from : 0;

    return left ? __builtin_ctzll(left) : -1;
}

/* The first matching second of a day at or after `from`; -1 when there is none. */
static int64_t next_time(const struct cron *cron, int64_t from)
{
    int hour = (int)(from / 3600);
    int minute = (int)(from / 60 % 60);
    int second = (int)(from % 60);
    int found = next_bit(cron->hours, hour);

    if (found != hour)
        minute = second = 0;
    for (hour = found; hour >= 0; hour = next_bit(cron->hours, hour + 1), minute = second = 0) {
        found = next_bit(cron->minutes, minute);
        if (found == minute && next_bit(cron->seconds, second) < 0)
            found = next_bit(cron->minutes, minute + 1);
        if (found < 0)
            continue;
        if (found != minute)
            second = 0;
        return hour * INT64_C(3600) + found * INT64_C(60) + next_bit(cron->seconds, second);
    }
    return -1;
}

/* The first matching local time of [from, end). */
static bool next_local(const struct cron *cron, int64_t from, int64_t end, int64_t *ret_local)
{
    int64_t day = civil_day_of(from);
    int64_t last_day = civil_day_of(end - 1);
    int64_t time = from - day * CIVIL_DAY_S;

    if (from >= end)
        return false;
    for (int64_t found; next_day(cron, day, last_day + 1, &found); day = found + 1) {
        int64_t at = next_time(cron, found == day ? time : 0);

        time = 0;
        if (at < 0)
            continue;
        at += found * CIVIL_DAY_S;
        if (at < end)
            *ret_local = at;
        return at < end;
    }
    return false;
}

/* ---- spans ---- */

/* Where a fixed time of this span may first be: after what the span before it has shown already. */
static int64_t first_pass(const struct zone *zone, const struct zone_span *span)
{
    int64_t local = span->start + span->offset;
    int64_t shown_to = span->start + span->before;
    int64_t repeated = span->before - (int64_t)span->offset;
    struct zone_span before;

    if (repeated <= 0 || repeated > CRON_CHANGE_MAX_S)
        return local;
    before = zone_span_at(zone, span->start - 1);
    /* A span before that is shorter than the repetition has not shown all of it. */
    if (before.start != INT64_MIN && before.start + before.offset > local)
        return local;
    return shown_to;
}

/* Whether a fixed time falls in the gap before this span. */
static bool is_in_gap(const struct cron *cron, const struct zone_span *span)
{
    int64_t skipped = span->offset - (int64_t)span->before;
    int64_t local;

    return skipped > 0 && skipped <= CRON_CHANGE_MAX_S &&
           next_local(cron, span->start + span->before, span->start + span->offset, &local);
}

bool cron_matches(const struct cron *cron, int64_t local)
{
    int64_t found;

    return next_local(cron, local, local + 1, &found);
}

bool cron_meets_change(const struct cron *cron, const struct zone_span *span)
{
    int64_t local;

    if (cron->every_s || span->start == INT64_MIN)
        return false;
    if (span->offset > span->before)
        return next_local(cron, span->start + span->before, span->start + span->offset, &local);
    return next_local(cron, span->start + span->offset, span->start + span->before, &local);
}

static int64_t search_limit(const struct zone *zone, int64_t after)
{
    const int64_t cycle = (CIVIL_CYCLE_DAYS + INT64_C(366)) * CIVIL_DAY_S;
    int64_t from = zone->rule_from > after ? zone->rule_from : after;

    return from > YEAR_10000_S - cycle ? YEAR_10000_S : from + cycle;
}

static bool next_fields(const struct cron *cron, const struct zone *zone, int64_t after,
                        int64_t *ret_at)
{
    int64_t limit;

    if (after >= YEAR_10000_S)
        return false;
    limit = search_limit(zone, after);
    for (int64_t at = after < YEAR_1_S ? YEAR_1_S : after + 1; at < limit;) {
        struct zone_span span = zone_span_at(zone, at);
        int64_t end = span.end < limit ? span.end : limit;
        int64_t local = at + span.offset;

        if (!cron->wild && span.start != INT64_MIN) {
            int64_t first = first_pass(zone, &span);

            if (at == span.start && is_in_gap(cron, &span)) {
                *ret_at = at;
                return true;
            }
            if (first > local)
                local = first;
        }
        if (next_local(cron, local, end + span.offset, &local)) {
            *ret_at = local - span.offset;
            return true;
        }
        at = end;
    }
    return false;
}

bool cron_next(const struct cron *cron, const struct zone *zone, int64_t after, int64_t *ret_at)
{
    if (cron->every_s) {
        if (after >= YEAR_10000_S - cron->every_s)
            return false;
        *ret_at = after + cron->every_s;
        return true;
    }
    return cron_can_come(cron) && next_fields(cron, zone, after, ret_at);
}

static void reverse(int64_t *list, size_t from, size_t end)
{
    for (; from + 1 < end; from++, end--) {
        int64_t swapped = list[from];

        list[from] = list[end - 1];
        list[end - 1] = swapped;
    }
}

/* The last ones of an interval that is counted from `from`. */
static size_t last_of_interval(int64_t every_s, int64_t from, int64_t until, size_t max,
                               int64_t *ret_at)
{
    int64_t steps = until < from ? -1 : (until - from) / every_s;
    size_t count = steps + 1 < (int64_t)max ? (size_t)(steps + 1) : max;

    for (size_t i = 0; i < count; i++)
        ret_at[i] = from + (steps - (int64_t)(count - 1 - i)) * every_s;
    return count;
}

size_t cron_last(const struct cron *cron, const struct zone *zone, int64_t from, int64_t until,
                 size_t max, int64_t *ret_at)
{
    if (cron->every_s)
        return last_of_interval(cron->every_s, from, until, max, ret_at);
    /* Backwards in strides that grow, so that the work is a few times what is wanted. */
    for (int64_t stride = 60;; stride *= 8) {
        int64_t start = until - from > stride ? until - stride : from;
        int64_t at = start - 1;
        size_t seen = 0;

        while (max > 0 && cron_next(cron, zone, at, &at) && at <= until)
            ret_at[seen++ % max] = at;
        if (seen < max && start > from)
            continue;
        if (seen <= max)
            return seen;
        /* A ring that begins somewhere in the middle, turned. */
        reverse(ret_at, 0, seen % max);
        reverse(ret_at, seen % max, max);
        reverse(ret_at, 0, max);
        return max;
    }
}
