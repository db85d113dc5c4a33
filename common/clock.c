/* SPDX-License-Identifier: MIT
 *
 * The two clocks and RFC 3339; see clock.h.
 */
#include "common/clock.h"

#include <stdio.h>
#include <string.h>

#define YEAR_1_US (INT64_C(-62135596800) * US_PER_S)
#define YEAR_10000_US (INT64_C(253402300800) * US_PER_S)

static struct {
    bool fixed;
    int64_t wall_us;
    int64_t mono_us;
} test_clock;

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * US_PER_S + ts.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
    return test_clock.fixed ? test_clock.wall_us : read_clock(CLOCK_REALTIME);
}

int64_t clock_mono_us(void)
{
    return test_clock.fixed ? test_clock.mono_us : read_clock(CLOCK_MONOTONIC);
}

void clock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;

    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(cond, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

struct timespec clock_timespec(int64_t us)
{
    if (us < 0)
        us = 0;
    return (struct timespec){.tv_sec = us / US_PER_S, .tv_nsec = us % US_PER_S * 1000};
}

/* Up to the second; at most CLOCK_TEXT_SIZE - 9 bytes, as years have at most ten digits. */
static size_t format_seconds(time_t seconds, char out[CLOCK_TEXT_SIZE])
{
    struct tm tm;
    size_t len;

    gmtime_r(&seconds, &tm);
    /* Not strftime's %Y, which gives year 33 two digits. */
    (void)snprintf(out, CLOCK_TEXT_SIZE, "%04d", tm.tm_year + 1900);
    len = strlen(out);
    return len + strftime(out + len, CLOCK_TEXT_SIZE - len, "-%m-%dT%H:%M:%S", &tm);
}

/* Of the same second as the thread's last time only the fraction is made anew. */
void clock_format(int64_t wall_us, char out[CLOCK_TEXT_SIZE])
{
    static _Thread_local struct {
        time_t seconds;
        size_t len; /* 0: nothing yet */
        char text[CLOCK_TEXT_SIZE];
    } last;
    int64_t fraction = wall_us % US_PER_S;
    time_t seconds = (time_t)(wall_us / US_PER_S);

    if (fraction < 0) {
        fraction += US_PER_S;
        seconds--;
    }
    if (last.len == 0 || last.seconds != seconds) {
        last.seconds = seconds;
        last.len = format_seconds(seconds, last.text);
    }
    memcpy(out, last.text, CLOCK_TEXT_SIZE);
    out += last.len;
    out[0] = '.';
    for (size_t i = 6; i > 0; i--, fraction /= 10)
        out[i] = (char)('0' + fraction % 10);
    out[7] = 'Z';
    out[8] = '\0';
}

/* Reads exactly `digits` digits and moves on; -1 when they are not there. */
static int take_number(const char **p, int digits)
{
    int value = 0;

    for (int i = 0; i < digits; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return -1;
        value = value * 10 + (**p - '0');
    }
    return value;
}

static bool take_char(const char **p, const char *accepted)
{
    if (!**p || !strchr(accepted, **p))
        return false;
    (*p)++;
    return true;
}

/* Microseconds; what is finer is dropped. -1 when there is no digit. */
static int64_t take_fraction(const char **p)
{
    int64_t us = 0;
    int64_t unit = US_PER_S / 10;

    if (**p < '0' || **p > '9')
        return -1;
    for (; **p >= '0' && **p <= '9'; (*p)++, unit /= 10)
        us += (**p - '0') * unit;
    return us;
}

static bool take_offset(const char **p, int *ret_seconds)
{
    int sign;
    int hours;
    int minutes;

    if (take_char(p, "Zz")) {
        *ret_seconds = 0;
        return true;
    }
    sign = **p == '-' ? -1 : 1;
    if (!take_char(p, "+-"))
        return false;
    hours = take_number(p, 2);
    if (hours < 0 || hours > 23 || !take_char(p, ":"))
        return false;
    minutes = take_number(p, 2);
    if (minutes < 0 || minutes > 59)
        return false;
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool clock_parse(const char *text, int64_t *ret_wall_us)
{
    const char *p = text;
    struct tm tm = {0};
    struct tm check;
    int64_t fraction = 0;
    int64_t wall_us;
    int offset;
    int year = take_number(&p, 4);
    time_t seconds;

    if (year < 0 || !take_char(&p, "-"))
        return false;
    tm.tm_year = year - 1900;
    tm.tm_mon = take_number(&p, 2) - 1;
    if (!take_char(&p, "-"))
        return false;
    tm.tm_mday = take_number(&p, 2);
    if (!take_char(&p, "Tt "))
        return false;
    tm.tm_hour = take_number(&p, 2);
    if (!take_char(&p, ":"))
        return false;
    tm.tm_min = take_number(&p, 2);
    if (!take_char(&p, ":"))
        return false;
    tm.tm_sec = take_number(&p, 2);
    if (take_char(&p, "."))
        fraction = take_fraction(&p);
    if (fraction < 0 || !take_offset(&p, &offset) || *p || tm.tm_sec < 0 || tm.tm_min < 0 ||
        tm.tm_hour < 0)
        return false;
    check = tm;
    seconds = timegm(&check);
    /* timegm() normalises: a date that changed was not one (30 February, 25:00). */
    if (check.tm_mon != tm.tm_mon || check.tm_mday != tm.tm_mday || check.tm_hour != tm.tm_hour ||
        check.tm_min != tm.tm_min || check.tm_sec != tm.tm_sec)
        return false;
    wall_us = ((int64_t)seconds - offset) * US_PER_S + fraction;
    if (wall_us < YEAR_1_US || wall_us >= YEAR_10000_US)
        return false; /* led out of the four digits of a year by its offset */
    *ret_wall_us = wall_us;
    return true;
}

void clock_fix(int64_t wall_us, int64_t mono_us)
{
    test_clock.fixed = true;
    test_clock.wall_us = wall_us;
    test_clock.mono_us = mono_us;
}

void clock_real(void) { test_clock.fixed = false; }
