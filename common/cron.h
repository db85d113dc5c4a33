/* SPDX-License-Identifier: MIT
 *
 * Cron expressions: reading one, and when it comes next. Pure: no clock, no files, no allocation,
 * and a bounded amount of work for any input.
 *
 * Five fields (minute, hour, day of month, month, day of week), or six with seconds first; @yearly,
 * @annually, @monthly, @weekly, @daily, @midnight, @hourly; "@every 1h30m". A field is a list of
 * `*`, `*` with a step, n, n-m, n-m/step; months and days of the week also by three letters. The
 * zone is never part of the expression.
 *
 * Days: when the day of month or the day of week begins with `*`, both must match; else one of them
 * is enough (as in every cron since Vixie's).
 *
 * Changes of the clock, by offset: an expression whose second, minute or hour begins with `*`
 * follows the wall clock: nothing in a gap, both passes of a repeated hour. All others are fixed
 * times: one that falls in a gap comes once, at the first instant after it; one that is repeated
 * comes at its first pass alone. A change of more than three hours (a country that moved across the
 * date line) is not made up for.
 */
#ifndef COMMON_CRON_H
#define COMMON_CRON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/zone.h"

enum {
    CRON_TEXT_MAX = 1000, /* bytes of an expression */
    CRON_CHANGE_MAX_S = 3 * 3600,
    CRON_EVERY_MAX_S = 10 * 366 * 86400,
    CRON_DESCRIPTION_SIZE = 600,
};

struct cron {
    /* One bit a value that matches. */
    uint64_t seconds;
    uint64_t minutes;
    uint32_t hours;
    uint32_t days;     /* 1 to 31 */
    uint32_t months;   /* 1 to 12 */
    uint32_t weekdays; /* 0, Sunday, to 6 */
    bool days_star;
    bool weekdays_star;
    bool wild;       /* seconds, minutes or hours begin with `*` */
    int64_t every_s; /* @every: the rest is unused; 0: it is not */
};

/* ERR_INVALID with a text that names the field and the reason. */
enum err_code cron_parse(const char *text, struct cron *ret_cron, struct err *e) MUST_CHECK;

/* False for a date that no calendar has, as 30 February. */
bool cron_can_come(const struct cron *cron);

/* The first time after `after` (seconds since 1970), always later than it. False when there is none
 * in the 400 years after which calendar and zone repeat themselves, or before the year 10000. */
bool cron_next(const struct cron *cron, const struct zone *zone, int64_t after, int64_t *ret_at);

/* The last times of [from, until], at most `max`, ascending, in `ret_at`; gives how many. An
 * interval is counted from `from`, which is one of its times. */
size_t cron_last(const struct cron *cron, const struct zone *zone, int64_t from, int64_t until,
                 size_t max, int64_t *ret_at);

/* Why a day matched. */
enum cron_day { CRON_DAY_NONE, CRON_DAY_EVERY, CRON_DAY_OF_MONTH, CRON_DAY_OF_WEEK, CRON_DAY_BOTH };

/* Whether a day (civil_to_days()) matches. */
enum cron_day cron_match_day(const struct cron *cron, int64_t days);

/* Whether a local time (seconds, as if they were UTC) is one of the expression's. */
bool cron_matches(const struct cron *cron, int64_t local);

/* Whether a time of the expression lies in the gap, or among the repeated times, with which a span
 * begins. */
bool cron_meets_change(const struct cron *cron, const struct zone_span *span);

/* What it means, in English: "at 02:30 on Monday to Friday". */
void cron_describe(const struct cron *cron, char out[CRON_DESCRIPTION_SIZE]);

#endif
