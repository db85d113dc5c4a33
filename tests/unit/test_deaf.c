/* SPDX-License-Identifier: MIT
 *
 * When a consumer is deaf, and above all when it is not.
 */
#include "worker/deaf.h"

#include <string.h>

#include <criterion/criterion.h>

#define SECOND INT64_C(1000000)

enum { STREAMS = 2 };

static struct deaf *deaf;
static struct process_asked asked[STREAMS];
static char entries[STREAMS][QUEUE_ENTRY_SIZE];
static int64_t now_us;
static size_t stream;

static void start(void)
{
    deaf = deaf_new(STREAMS);
    memset(entries, 0, sizeof entries);
    now_us = 1000 * SECOND;
    deaf_note(deaf, asked, now_us);
}

static void finish(void) { deaf_free(deaf); }

TestSuite(deaf, .init = start, .fini = finish);

static void waits(size_t i, const char *entry)
{
    (void)snprintf(entries[i], sizeof entries[i], "%s", entry);
}

/* One second goes by; `asks`: stream 0 was asked again meanwhile. Whether it is judged deaf. */
static bool second(bool asks)
{
    now_us += SECOND;
    if (asks)
        atomic_fetch_add(&asked[0].count, 1);
    deaf_note(deaf, asked, now_us);
    return deaf_should_ask(deaf, now_us) && deaf_judge(deaf, asked, entries, now_us, &stream);
}

/* How many seconds until it is judged deaf; `limit` when it is not. */
static int seconds_until(bool asks, int limit)
{
    int i = 0;

    while (i < limit && !second(asks))
        i++;
    return i;
}

Test(deaf, who_asks_and_gets_nothing_of_what_waits_is_deaf_within_twenty_seconds)
{
    int took;

    waits(0, "1-0");
    took = seconds_until(true, 100);
    cr_expect_geq(took, 10);
    cr_expect_leq(took, 20);
    cr_expect_eq(stream, 0);
    cr_expect(deaf_is_suspect(deaf));
}

Test(deaf, it_is_judged_anew_as_long_as_it_stays_deaf)
{
    waits(0, "1-0");
    (void)seconds_until(true, 100);
    cr_expect_lt(seconds_until(true, 100), 20);
    cr_expect_lt(seconds_until(true, 100), 20);
}

Test(deaf, who_does_not_ask_is_not_deaf)
{
    waits(0, "1-0");
    cr_expect_eq(seconds_until(false, 100), 100, "a queue that is limited waits as it should");
}

Test(deaf, while_nothing_waits_nobody_is_deaf) { cr_expect_eq(seconds_until(true, 100), 100); }

Test(deaf, while_others_take_what_waits_nobody_is_deaf)
{
    for (int i = 0; i < 100; i++) {
        char entry[16];

        (void)snprintf(entry, sizeof entry, "%d-0", i / 4);
        waits(0, entry);
        cr_expect_not(second(true));
    }
}

Test(deaf, who_reads_anything_is_not_deaf)
{
    waits(0, "1-0");
    for (int i = 0; i < 100; i++) {
        if (i % 8 == 0)
            atomic_fetch_add(&asked[1].got, 1);
        cr_expect_not(second(true));
    }
}

Test(deaf, without_room_time_does_not_count)
{
    waits(0, "1-0");
    for (int i = 0; i < 100; i++) {
        if (i % 9 == 0)
            deaf_forget(deaf, now_us);
        cr_expect_not(second(true));
    }
}

Test(deaf, suspicion_ends_when_something_is_read_or_nothing_waits)
{
    waits(0, "1-0");
    (void)seconds_until(true, 100);
    atomic_fetch_add(&asked[0].got, 1);
    (void)second(true);
    cr_expect_not(deaf_is_suspect(deaf));
    (void)seconds_until(true, 100);
    cr_assert(deaf_is_suspect(deaf));
    waits(0, "");
    for (int i = 0; i < 6; i++)
        (void)second(true);
    cr_expect_not(deaf_is_suspect(deaf));
}

Test(deaf, it_asks_seldom)
{
    int times = 0;

    for (int i = 0; i < 100; i++) {
        now_us += SECOND;
        deaf_note(deaf, asked, now_us);
        times += deaf_should_ask(deaf, now_us);
    }
    cr_expect_leq(times, 20);
    cr_expect_geq(times, 19);
}
