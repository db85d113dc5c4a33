/* SPDX-License-Identifier: MIT
 *
 * Days of the Gregorian calendar, forth and back, against the C library's.
 */
#include "common/civil.h"

#include <time.h>

#include <criterion/criterion.h>

Test(civil, agrees_with_the_c_library_over_four_hundred_years)
{
    for (int64_t days = -250000; days < 250000; days += 1) {
        time_t seconds = (time_t)(days * CIVIL_DAY_S);
        struct civil date = civil_of_days(days);
        struct tm tm;

        gmtime_r(&seconds, &tm);
        cr_assert(date.year == tm.tm_year + 1900 && date.month == tm.tm_mon + 1 &&
                      date.day == tm.tm_mday,
                  "day %lld", (long long)days);
        cr_assert_eq(civil_weekday(days), tm.tm_wday);
        cr_assert_eq(civil_to_days(date.year, date.month, date.day), days);
    }
}

Test(civil, months_have_their_lengths)
{
    cr_assert_eq(civil_month_length(2024, 2), 29);
    cr_assert_eq(civil_month_length(2023, 2), 28);
    cr_assert_eq(civil_month_length(1900, 2), 28);
    cr_assert_eq(civil_month_length(2000, 2), 29);
    cr_assert_eq(civil_month_length(-400, 2), 29);
    cr_assert_eq(civil_month_length(2026, 4), 30);
    cr_assert_eq(civil_month_length(2026, 12), 31);
}

Test(civil_day_of, rounds_down)
{
    cr_assert_eq(civil_day_of(0), 0);
    cr_assert_eq(civil_day_of(86399), 0);
    cr_assert_eq(civil_day_of(86400), 1);
    cr_assert_eq(civil_day_of(-1), -1);
    cr_assert_eq(civil_day_of(-86400), -1);
    cr_assert_eq(civil_day_of(-86401), -2);
}
