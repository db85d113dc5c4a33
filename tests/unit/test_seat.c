/* SPDX-License-Identifier: MIT
 *
 * What a supervisor makes of the seats of its processes, and whose turn it is to leave.
 */
#include "worker/seat.h"

#include <criterion/criterion.h>

#include "common/clock.h"

#define LEASE (30 * US_PER_S)

static struct seats *seats;
static struct seat *seat;
static struct seat_watch watch;
static int64_t now_us = 1000 * US_PER_S;

static void start(void)
{
    seats = seats_new(3);
    seat = &seats->items[1];
}

static void finish(void) { seats_free(seats); }

TestSuite(seat, .init = start, .fini = finish);

/* A second later. */
static enum seat_verdict look(int64_t late_us)
{
    now_us += US_PER_S + late_us;
    return seat_judge(seat, &watch, now_us, late_us, LEASE);
}

static enum seat_verdict look_for(int seconds)
{
    enum seat_verdict verdict = SEAT_WELL;

    while (seconds-- > 0 && verdict == SEAT_WELL)
        verdict = look(0);
    return verdict;
}

Test(seat, who_gives_a_sign_of_life_is_well)
{
    for (int i = 0; i < 200; i++) {
        if (i % 50 == 0)
            atomic_store(&seat->tick_us, now_us);
        cr_assert_eq(look(0), SEAT_WELL, "after %d s", i);
    }
}

Test(seat, who_is_silent_for_two_leases_is_silent)
{
    atomic_store(&seat->tick_us, now_us);
    cr_expect_eq(look_for(60), SEAT_WELL);
    cr_expect_eq(look_for(3), SEAT_SILENT);
}

Test(seat, who_has_not_begun_is_not_silent) { cr_expect_eq(look_for(1000), SEAT_WELL); }

Test(seat, a_short_lease_is_no_reason_to_hurry)
{
    atomic_store(&seat->tick_us, now_us);
    for (int i = 0; i < SEAT_SILENCE_MIN_S; i++) {
        now_us += US_PER_S;
        cr_assert_eq(seat_judge(seat, &watch, now_us, 0, 2 * US_PER_S), SEAT_WELL);
    }
}

Test(seat, time_that_the_supervisor_missed_is_not_held_against_anybody)
{
    atomic_store(&seat->tick_us, now_us);
    cr_expect_eq(look_for(30), SEAT_WELL);
    cr_expect_eq(look(3600 * US_PER_S), SEAT_WELL);
    cr_expect_eq(look_for(29), SEAT_WELL);
    cr_expect_eq(look_for(4), SEAT_SILENT);
}

Test(seat, a_job_past_its_limit_gets_the_grace_that_its_process_needs_to_end)
{
    atomic_store(&seat->slots[255].limit_us, now_us + 10 * US_PER_S);
    for (int i = 0; i < 15; i++) {
        atomic_store(&seat->tick_us, now_us);
        cr_assert_eq(look(0), SEAT_WELL, "after %d s", i + 1);
    }
    cr_expect_eq(look(0), SEAT_OVERRUN);
    cr_expect_eq(look(10 * US_PER_S), SEAT_WELL, "they were stopped together");
    atomic_store(&seat->slots[255].limit_us, 0);
    cr_expect_eq(look(0), SEAT_WELL);
}

Test(seat, whoever_sits_down_begins_anew_and_keeps_the_name)
{
    atomic_store(&seat->tick_us, 1);
    atomic_store(&seat->is_ready, true);
    atomic_store(&seat->slots[7].limit_us, 1);
    seat->name[0] = 'x';
    seat_clear(seat);
    cr_expect_eq(atomic_load(&seat->tick_us), 0);
    cr_expect_not(atomic_load(&seat->is_ready));
    cr_expect_eq(atomic_load(&seat->slots[7].limit_us), 0);
    cr_expect_eq(seat->name[0], 'x');
}

Test(seat, one_leaves_at_a_time)
{
    cr_expect(seats_may_leave(seats, 0));
    cr_expect(seats_may_leave(seats, 0), "it is its turn still");
    cr_expect_not(seats_may_leave(seats, 1));
    seats_end_turn(seats, 1);
    cr_expect_not(seats_may_leave(seats, 1), "it was not its turn to end");
    seats_end_turn(seats, 0);
    cr_expect(seats_may_leave(seats, 1));
}

Test(seat, an_attempt_that_overran_is_noted_once_and_stays_for_whoever_comes_next)
{
    struct uuid id = uuid_v7();

    seat_add_overrun(seat, &id, 1, US_PER_S);
    seat_add_overrun(seat, &id, 1, US_PER_S);
    seat_clear(seat);
    cr_assert_eq(atomic_load(&seat->overrun_count), 1);
    cr_assert_str_eq(seat->overruns[0].id.text, id.text);

    for (int attempt = 2; attempt < 2 * SEAT_OVERRUNS_MAX; attempt++)
        seat_add_overrun(seat, &id, attempt, US_PER_S);
    cr_assert_eq(atomic_load(&seat->overrun_count), SEAT_OVERRUNS_MAX);
}
