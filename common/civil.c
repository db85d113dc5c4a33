/* SPDX-License-Identifier: MIT
 *
 * Arithmetic of the calendar; see civil.h. Years begin in March here, so that the leap day is the
 * last of its year, and eras are the 400 years after which the calendar repeats.
 */
#include "common/civil.h"

enum { ERA_TO_1970 = 719468 }; /* days from 1 March of year 0 */

static int64_t floor_div(int64_t number, int64_t by)
{
    return number / by - (number % by < 0 ? 1 : 0);
}

int64_t civil_to_days(int64_t year, int month, int day)
{
    int64_t march_year = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(march_year, CIVIL_CYCLE_YEARS);
    int64_t year_of_era = march_year - era * CIVIL_CYCLE_YEARS;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * CIVIL_CYCLE_DAYS + day_of_era - ERA_TO_1970;
}

struct civil civil_of_days(int64_t days)
{
    int64_t from_era = days + ERA_TO_1970;
    int64_t era = floor_div(from_era, CIVIL_CYCLE_DAYS);
    int64_t day_of_era = from_era - era * CIVIL_CYCLE_DAYS;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int from_march = (int)((5 * day_of_year + 2) / 153);
    int month = from_march < 10 ? from_march + 3 : from_march - 9;

    return (struct civil){
        .year = year_of_era + era * CIVIL_CYCLE_YEARS + (month <= 2 ? 1 : 0),
        .month = month,
        .day = (int)(day_of_year - (153 * from_march + 2) / 5 + 1),
    };
}

bool civil_is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % CIVIL_CYCLE_YEARS == 0);
}

int civil_month_length(int64_t year, int month)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return month == 2 && civil_is_leap(year) ? 29 : lengths[month - 1];
}

int civil_weekday(int64_t days)
{
    int64_t weekday = (days + 4) % 7; /* 1 January 1970 was a Thursday */

    return (int)(weekday < 0 ? weekday + 7 : weekday);
}

int64_t civil_day_of(int64_t seconds) { return floor_div(seconds, CIVIL_DAY_S); }
