/* SPDX-License-Identifier: MIT
 *
 * Dates of the Gregorian calendar, carried on in both directions for ever, as days since 1 January
 * 1970. Pure arithmetic (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms"); it knows no
 * time zone.
 */
#ifndef COMMON_CIVIL_H
#define COMMON_CIVIL_H

#include <stdbool.h>
#include <stdint.h>

enum { CIVIL_DAY_S = 86400, CIVIL_CYCLE_YEARS = 400, CIVIL_CYCLE_DAYS = 146097 };

struct civil {
    int64_t year;
    int month; /* 1 to 12 */
    int day;   /* 1 to 31 */
};

int64_t civil_to_days(int64_t year, int month, int day);
struct civil civil_of_days(int64_t days);

bool civil_is_leap(int64_t year);
int civil_month_length(int64_t year, int month);

/* 0 is Sunday. */
int civil_weekday(int64_t days);

/* The day that an instant or a local time, in seconds, falls on: rounded down. */
int64_t civil_day_of(int64_t seconds);

#endif
