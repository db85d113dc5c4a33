/* SPDX-License-Identifier: MIT
 *
 * Which ticks run now: the decision alone, at fixed times.
 */
#include "common/schedule.h"

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/schedule_file.h"

static struct zone zone;
static struct schedule_plan plan;

static int64_t at(const char *text)
{
    int64_t us = 0;

    cr_assert(clock_parse(text, &us), "%s", text);
    return us / US_PER_S;
}

/* Decides for a schedule of the given fields, in Berlin. */
static void decide(const char *cron_text, int64_t catch_up_s, int runs, const char *decided_to,
                   const char *now)
{
    struct schedule schedule = {
        .name = (char[]){"x"}, .catch_up_s = catch_up_s, .catch_up_runs = runs};
    struct cron cron;
    struct err e = {0};

    cr_assert_eq(zone_read("Europe/Berlin", &zone, &e), ERR_OK, "%s", e.text);
    cr_assert_eq(cron_parse(cron_text, &cron, &e), ERR_OK, "%s", e.text);
    schedule_decide(&schedule, &cron, &zone, at(decided_to), at(now), &plan);
}

Test(schedule_decide, waits_before_the_tick_and_fires_at_it)
{
    decide("0 * * * *", 86400, 1, "2026-11-21T10:00:00Z", "2026-11-21T10:59:59Z");
    cr_assert(plan.fire_count == 0 && plan.missed_count == 0);
    cr_assert(plan.has_next && plan.next == at("2026-11-21T11:00:00Z"));
    cr_assert_eq(plan.decided_to, at("2026-11-21T10:00:00Z"));

    decide("0 * * * *", 86400, 1, "2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z");
    cr_assert(plan.fire_count == 1 && plan.fire[0] == at("2026-11-21T11:00:00Z"));
    cr_assert_eq(plan.missed_count, 0);
    cr_assert_eq(plan.decided_to, plan.fire[0]);
    cr_assert_eq(plan.next, at("2026-11-21T12:00:00Z"));
}

Test(schedule_decide, makes_up_for_the_last_ones_after_a_downtime)
{
    decide("0 * * * *", 86400, 1, "2026-11-21T10:00:00Z", "2026-11-21T15:30:00Z");
    cr_assert(plan.fire_count == 1 && plan.fire[0] == at("2026-11-21T15:00:00Z"));
    cr_assert_eq(plan.missed_count, 4);
    cr_assert_eq(plan.missed[0].tick, at("2026-11-21T11:00:00Z"));
    cr_assert_not(plan.missed[0].is_too_old);

    decide("0 * * * *", 86400, 3, "2026-11-21T10:00:00Z", "2026-11-21T15:30:00Z");
    cr_assert(plan.fire_count == 3 && plan.missed_count == 2);
    cr_assert_eq(plan.fire[0], at("2026-11-21T13:00:00Z"));

    decide("0 * * * *", 7200, 100, "2026-11-21T10:00:00Z", "2026-11-21T15:30:00Z");
    cr_assert(plan.fire_count == 2 && plan.missed_count == 3);
    cr_assert(plan.missed[2].is_too_old);
}

Test(schedule_decide, makes_up_for_nothing_that_is_older_than_the_window)
{
    decide("0 0 * * *", 0, 1, "2026-11-18T12:00:00Z", "2026-11-21T12:00:00Z");
    cr_assert(plan.fire_count == 0 && plan.missed_count == 3);
    cr_assert(plan.missed[2].is_too_old);
    cr_assert_eq(plan.decided_to, at("2026-11-20T23:00:00Z"));
    cr_assert_eq(plan.next, at("2026-11-21T23:00:00Z"));

    /* A few seconds are no downtime. */
    decide("0 0 * * *", 0, 1, "2026-11-19T23:00:00Z", "2026-11-20T23:00:09Z");
    cr_assert(plan.fire_count == 1 && plan.missed_count == 0);
}

Test(schedule_decide, sums_up_what_is_long_missed)
{
    int64_t sum = 0;

    decide("*/10 * * * *", 3600, 1, "2026-11-11T00:00:00Z", "2026-11-21T00:00:00Z");
    cr_assert_eq(plan.missed_count, SCHEDULE_MISSED_MAX + 1);
    for (size_t i = 0; i < plan.missed_count; i++) {
        sum += plan.missed[i].ticks;
        cr_assert(i == 0 || plan.missed[i].tick > plan.missed[i - 1].tick);
    }
    cr_assert_eq(sum + (int64_t)plan.fire_count, 10 * 144);
    decide("* * * * * *", 0, 1, "2020-01-01T00:00:00Z", "2026-11-21T00:00:00Z");
    cr_assert_eq(plan.missed[0].ticks, SCHEDULE_COUNT_MAX);
}

Test(schedule_decide, keeps_the_phase_of_an_interval)
{
    decide("@every 7s", 86400, 1, "2026-11-21T00:00:00Z", "2026-11-21T00:00:20Z");
    cr_assert(plan.fire_count == 1 && plan.fire[0] == at("2026-11-21T00:00:14Z"));
    cr_assert_eq(plan.next, at("2026-11-21T00:00:21Z"));
    cr_assert_eq(plan.missed_count, 1);

    decide("@every 7s", 60, 1, "2026-11-21T00:00:00Z", "2026-11-21T01:00:00Z");
    cr_assert_eq((plan.fire[0] - at("2026-11-21T00:00:00Z")) % 7, 0);
    cr_assert_gt(plan.fire[0] + 7, at("2026-11-21T01:00:00Z"));
}

Test(schedule_decide, goes_on_from_now_when_the_clock_was_put_back)
{
    decide("0 * * * *", 86400, 1, "2026-11-22T10:00:00Z", "2026-11-21T10:30:00Z");
    cr_assert(plan.fire_count == 0 && plan.missed_count == 0);
    cr_assert_eq(plan.next, at("2026-11-21T11:00:00Z"));

    /* Not for the little that clocks are adjusted. */
    decide("0 * * * *", 86400, 1, "2026-11-21T11:00:00Z", "2026-11-21T10:59:59Z");
    cr_assert_eq(plan.next, at("2026-11-21T12:00:00Z"));
}

Test(schedule_decide, follows_changes_of_the_clock)
{
    decide("30 2 * * *", 86400, 1, "2024-03-30T01:30:00Z", "2024-03-31T01:00:00Z");
    cr_assert(plan.fire_count == 1 && plan.fire[0] == at("2024-03-31T01:00:00Z"));
    cr_assert_eq(plan.next, at("2024-04-01T00:30:00Z"));
    decide("30 2 * * *", 86400, 1, "2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z");
    cr_assert_eq(plan.fire_count, 0);
    cr_assert_eq(plan.next, at("2024-10-28T01:30:00Z"));
}

Test(schedule_delay_s, is_fixed_for_a_name_and_spreads)
{
    bool seen[11] = {false};
    int different = 0;

    for (int i = 0; i < 200; i++) {
        char name[] = {'s', (char)('a' + i / 20), (char)('a' + i % 20), '\0'};
        struct schedule schedule = {.name = name, .jitter_s = 10};
        int64_t delay = schedule_delay_s(&schedule);

        cr_assert(delay >= 0 && delay <= 10);
        cr_assert_eq(delay, schedule_delay_s(&schedule));
        different += !seen[delay];
        seen[delay] = true;
    }
    cr_assert_eq(different, 11);
    cr_assert_eq(schedule_delay_s(&(struct schedule){.name = (char[]){"x"}}), 0);
}

Test(schedule_file_parse, names_a_byte_order_mark)
{
    static const char text[] = "\xef\xbb\xbf[a]\ncron = @daily\ntask = t\n";
    struct schedule_file file = {0};
    struct err e = {0};

    cr_assert_eq(schedule_file_parse("f", text, sizeof text - 1, "UTC", &file, &e), ERR_INVALID);
    cr_assert_not_null(strstr(e.text, "byte order mark"));
}

Test(schedule_file_parse, reads_every_field)
{
    static const char text[] = "# one\r\n\r\n[a.b-c_1]\r\n  cron = 5,10 * * * *\t\n task=t\n"
                               "zone = Asia/Tokyo\nargs = [1, {\"a\": \"= [x]\"}]\nkwargs = {}\n"
                               "queue = q\noverlap = queue\ncatch_up = 1d2h3m4s\n"
                               "catch_up_runs = 7\njitter = 90s\n;two\n[b]\ncron=@daily\ntask=t";
    struct schedule_file file = {0};
    struct err e = {0};

    cr_assert_eq(schedule_file_parse("f", text, sizeof text - 1, "Europe/Berlin", &file, &e),
                 ERR_OK, "%s", e.text);
    cr_assert_eq(file.count, 2);
    cr_assert_str_eq(file.items[0].name, "a.b-c_1");
    cr_assert_str_eq(file.items[0].cron, "5,10 * * * *");
    cr_assert_str_eq(file.items[0].zone, "Asia/Tokyo");
    cr_assert_str_eq(file.items[0].args, "[1, {\"a\": \"= [x]\"}]");
    cr_assert_str_eq(file.items[0].queue, "q");
    cr_assert_eq(file.items[0].overlap, SCHEDULE_QUEUE);
    cr_assert_eq(file.items[0].catch_up_s, 86400 + 7200 + 180 + 4);
    cr_assert_eq(file.items[0].catch_up_runs, 7);
    cr_assert_eq(file.items[0].jitter_s, 90);
    cr_assert_str_eq(file.items[1].zone, "Europe/Berlin");
    cr_assert_eq(file.items[1].overlap, SCHEDULE_SKIP);
    cr_assert_eq(file.items[1].catch_up_s, 86400);
    cr_assert_eq(file.items[1].catch_up_runs, 1);
    schedule_file_release(&file);
}
