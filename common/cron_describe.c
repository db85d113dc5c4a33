/* SPDX-License-Identifier: MIT
 *
 * What a cron expression means, in English; see cron.h. Made from its bits and not from its text,
 * so that it says what will happen: "0-59" and "*" are both every minute.
 */
#include <inttypes.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/cron.h"

/* "June, Friday": values of one field as words or numbers. */
struct vocabulary {
    int min;
    int max;
    const char *const *names; /* by value - min; NULL: numbers */
};

static const char *const months[] = {"January",   "February", "March",    "April",
                                     "May",       "June",     "July",     "August",
                                     "September", "October",  "November", "December"};
static const char *const weekdays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};

static const struct vocabulary of_sixty = {0, 59, NULL};
static const struct vocabulary of_hours = {0, 23, NULL};
static const struct vocabulary of_days = {1, 31, NULL};
static const struct vocabulary of_months = {1, 12, months};
static const struct vocabulary of_weekdays = {0, 6, weekdays};

static uint64_t all_of(const struct vocabulary *v)
{
    return ((UINT64_C(1) << (v->max - v->min + 1)) - 1) << v->min;
}

static int first_of(uint64_t bits) { return __builtin_ctzll(bits); }

static int count_of(uint64_t bits) { return __builtin_popcountll(bits); }

/* The distance between neighbours when the values are evenly spaced, from the first to the end of
 * the field; else 0. */
static int spacing_of(uint64_t bits, const struct vocabulary *v)
{
    int first = first_of(bits);
    uint64_t rest = bits & (bits - 1);
    int step = rest ? first_of(rest) - first : 0;
    uint64_t made = 0;

    if (step < 2)
        return 0;
    for (int value = first; value <= v->max; value += step)
        made |= UINT64_C(1) << value;
    return made == bits ? step : 0;
}

/* The same for values that begin at the minimum. */
static int step_of(uint64_t bits, const struct vocabulary *v)
{
    return first_of(bits) == v->min ? spacing_of(bits, v) : 0;
}

/* "every 5th": 0 where so few of them are better named, as 0 and 21 are, of which nobody thinks at
 * "every 21st". */
static int ordinal_of(uint64_t bits, const struct vocabulary *v)
{
    return count_of(bits) > 3 ? step_of(bits, v) : 0;
}

static const char *ordinal_end(int step) { return step == 2 ? "nd" : step == 3 ? "rd" : "th"; }

static void add_value(struct buf *out, const struct vocabulary *v, int value)
{
    if (v->names)
        buf_add_str(out, v->names[value - v->min]);
    else
        buf_addf(out, "%d", value);
}

/* Runs of three and more become "Monday to Friday"; the parts are joined by commas and the last by
 * `joint`. */
static void add_joined(struct buf *out, const struct vocabulary *v, uint64_t bits,
                       const char *joint)
{
    int parts = 0;

    for (uint64_t left = bits; left;) {
        int first = first_of(left);
        int last = first;

        while (last < v->max && (left >> (last + 1) & 1))
            last++;
        if (last == first + 1) /* two are no run */
            last = first;
        for (int value = first; value <= last; value++)
            left &= ~(UINT64_C(1) << value);
        if (parts++ > 0)
            buf_add_str(out, left ? ", " : joint);
        add_value(out, v, first);
        if (last > first) {
            buf_add_str(out, " to ");
            add_value(out, v, last);
        }
    }
}

static void add_values(struct buf *out, const struct vocabulary *v, uint64_t bits)
{
    add_joined(out, v, bits, " and ");
}

/* ---- time of day ---- */

enum { CLOCK_TIMES_MAX = 4 };

static void add_clock(struct buf *out, int hour, int minute, int second, bool seconds)
{
    buf_addf(out, "%02d:%02d", hour, minute);
    if (seconds)
        buf_addf(out, ":%02d", second);
}

/* "at 06:00 and 18:00": a few times that can be listed. */
static void add_clock_times(struct buf *out, const struct cron *cron)
{
    int second = first_of(cron->seconds);
    int left = count_of(cron->hours) * count_of(cron->minutes);

    buf_add_str(out, "at ");
    for (uint64_t hours = cron->hours; hours; hours &= hours - 1) {
        for (uint64_t minutes = cron->minutes; minutes; minutes &= minutes - 1) {
            add_clock(out, first_of(hours), first_of(minutes), second, second != 0);
            if (--left > 0)
                buf_add_str(out, left > 1 ? ", " : " and ");
        }
    }
}

/* "every 5 minutes", "at minute 5 and 35", "every minute". */
static void add_unit(struct buf *out, uint64_t bits, const struct vocabulary *v, const char *unit)
{
    int step = spacing_of(bits, v);
    int first = first_of(bits);

    if (bits == all_of(v)) {
        buf_addf(out, "every %s", unit);
    } else if (step > 0 && (first == 0 || count_of(bits) > 3)) {
        buf_addf(out, "every %d %ss", step, unit);
        /* A stretch at the end of each hour or day that is shorter is told, too. */
        if (first != 0 || (v->max + 1) % step != 0)
            buf_addf(out, " from %s %d", unit, first);
    } else {
        buf_addf(out, "at %s ", unit);
        add_values(out, v, bits);
    }
}

static void add_hours(struct buf *out, const struct cron *cron)
{
    int step = ordinal_of(cron->hours, &of_hours);
    int first = first_of(cron->hours);
    int last = 63 - __builtin_clzll(cron->hours);

    if (cron->hours == all_of(&of_hours))
        return;
    if (step > 0) {
        buf_addf(out, " of every %d%s hour", step, ordinal_end(step));
    } else if (last - first + 1 == count_of(cron->hours)) {
        buf_addf(out, " from %02d:00 to %02d:59", first, last);
    } else {
        buf_add_str(out, " of hours ");
        add_values(out, &of_hours, cron->hours);
    }
}

static void add_time(struct buf *out, const struct cron *cron)
{
    bool on_the_minute = cron->seconds == 1;

    if (count_of(cron->seconds) == 1 &&
        count_of(cron->hours) * count_of(cron->minutes) <= CLOCK_TIMES_MAX) {
        add_clock_times(out, cron);
        return;
    }
    if (on_the_minute && cron->minutes == 1) {
        if (cron->hours == all_of(&of_hours) || step_of(cron->hours, &of_hours) > 0) {
            add_unit(out, cron->hours, &of_hours, "hour");
        } else {
            buf_add_str(out, "on the hour at ");
            add_values(out, &of_hours, cron->hours);
        }
        return;
    }
    if (!on_the_minute) {
        add_unit(out, cron->seconds, &of_sixty, "second");
        if (cron->minutes != all_of(&of_sixty))
            buf_add_str(out, ", ");
    }
    if (on_the_minute || cron->minutes != all_of(&of_sixty))
        add_unit(out, cron->minutes, &of_sixty, "minute");
    add_hours(out, cron);
}

/* ---- days ---- */

static void add_days_of_month(struct buf *out, const struct cron *cron)
{
    int step = ordinal_of(cron->days, &of_days);

    if (step > 0) {
        buf_addf(out, "every %d%s day of the month from the 1st", step, ordinal_end(step));
        return;
    }
    buf_add_str(out, count_of(cron->days) > 1 ? "days " : "day ");
    add_values(out, &of_days, cron->days);
    buf_add_str(out, " of the month");
}

static void add_days(struct buf *out, const struct cron *cron)
{
    bool any_day = cron->days == all_of(&of_days);
    bool any_weekday = cron->weekdays == all_of(&of_weekdays);
    bool either = !cron->days_star && !cron->weekdays_star;

    /* Of two of which one is enough, one that always matches is enough. */
    if ((any_day && any_weekday) || (either && (any_day || any_weekday)))
        return;
    buf_add_str(out, " on ");
    if (!any_day)
        add_days_of_month(out, cron);
    if (!any_day && !any_weekday)
        buf_add_str(out, either ? " and on every " : " if it is ");
    if (!any_weekday)
        add_joined(out, &of_weekdays, cron->weekdays, any_day || either ? " and " : " or ");
}

static void add_interval(struct buf *out, int64_t every_s)
{
    static const char *const units[] = {"hour", "minute", "second"};
    const int64_t parts[] = {every_s / 3600, every_s / 60 % 60, every_s % 60};
    bool alone = every_s == 3600 || every_s == 60 || every_s == 1;

    buf_add_str(out, "every");
    for (int i = 0; i < 3; i++) {
        if (parts[i] > 0 && alone)
            buf_addf(out, " %s", units[i]);
        else if (parts[i] > 0)
            buf_addf(out, " %" PRId64 " %s%s", parts[i], units[i], parts[i] == 1 ? "" : "s");
    }
}

void cron_describe(const struct cron *cron, char out[CRON_DESCRIPTION_SIZE])
{
    AUTO_VALUE(buf_release) struct buf text;

    buf_init(&text, CRON_DESCRIPTION_SIZE - 1);
    if (cron->every_s) {
        add_interval(&text, cron->every_s);
    } else {
        add_time(&text, cron);
        add_days(&text, cron);
        if (cron->months != all_of(&of_months)) {
            buf_add_str(&text, " in ");
            add_values(&text, &of_months, cron->months);
        }
        if (!cron_can_come(cron))
            buf_add_str(&text, ", which never comes");
    }
    if (!text_format(out, CRON_DESCRIPTION_SIZE, "%s", text.data))
        out[0] = '\0'; /* cannot be: the buffer has the same limit */
}
