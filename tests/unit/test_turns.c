/* SPDX-License-Identifier: MIT
 *
 * Whose turn it is, against streams that are numbers: strict order, weights, the guard, round
 * trips.
 */
#include "worker/turns.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"

enum { QUEUES = 3, SOURCES = QUEUES * TURNS_PRIORITIES };

static struct turns *make(bool is_weighted, int a, int b, int c)
{
    const struct turns_queue queues[QUEUES] = {{.weight = a}, {.weight = b}, {.weight = c}};

    return turns_new(queues, QUEUES, is_weighted);
}

/* Adds what the asked streams give of what they have to got[i]; how many that is. */
static int give(struct turns *turns, const struct turns_ask *ask, long has[SOURCES],
                long got[SOURCES])
{
    int given = 0;

    for (size_t i = 0; i < ask->count; i++) {
        size_t s = ask->sources[i];
        int gives = has[s] < ask->max ? (int)has[s] : ask->max;

        has[s] -= gives;
        got[s] += gives;
        given += gives;
        turns_note(turns, s, ask->max, gives);
    }
    return given;
}

/* One round over streams that hold `has[i]` jobs: adds what each gives to got[i]; how many round
 * trips it took. No round may bring more than its room. */
static int play(struct turns *turns, int room, long has[SOURCES], long got[SOURCES])
{
    struct turns_ask ask;
    struct turns_ask ahead;
    int trips = 0;

    turns_begin(turns);
    while (turns_next(turns, room, &ask)) {
        int most = (int)ask.count * ask.max;
        bool is_both = turns_ahead(turns, room, &ask, &ahead);
        int given = 0;

        cr_assert_gt(most, 0);
        cr_assert_leq(most + (is_both ? ahead.max : 0), room);
        trips++;
        room -= give(turns, &ask, has, got);
        if (is_both)
            given = give(turns, &ahead, has, got);
        room -= given;
        if (is_both && given == ahead.max)
            break;
        cr_assert_lt(trips, 100, "the round does not end");
    }
    return trips;
}

static long sum(const long *numbers, size_t from, size_t count)
{
    long total = 0;

    for (size_t i = from; i < from + count; i++)
        total += numbers[i];
    return total;
}

Test(turns, strict_order_takes_nothing_later_while_earlier_ones_fill_the_room)
{
    struct turns *turns = make(false, 1, 1, 1);
    long has[SOURCES] = {5, 3, 0, 4, 0, 0, 0, 50, 0};
    long got[SOURCES] = {0};

    (void)play(turns, 6, has, got);
    cr_expect_eq(got[0], 5);
    cr_expect_eq(got[1], 1);
    (void)play(turns, 6, has, got);
    cr_expect_eq(got[1], 3);
    cr_expect_eq(got[3], 4);
    cr_expect_eq(got[7], 0);
    (void)play(turns, 6, has, got);
    cr_expect_eq(got[7], 6);
    turns_free(turns);
}

Test(turns, a_backlog_behind_empty_streams_costs_two_commands_a_round)
{
    struct turns *turns = make(false, 1, 1, 1);
    long has[SOURCES] = {[7] = 100000};
    long got[SOURCES] = {0};

    (void)play(turns, 64, has, got); /* what is not known yet is asked one by one */
    for (int i = 0; i < TURNS_GUARD - 1; i++)
        cr_expect_eq(play(turns, 64, has, got), 2);
    cr_expect_eq(got[7], 64 * TURNS_GUARD);
    turns_free(turns);
}

Test(turns, with_room_for_many_a_backlog_behind_empty_streams_costs_one_round_trip)
{
    struct turns *turns = make(false, 1, 1, 1);
    struct turns *weighted = make(true, 6, 3, 1);
    long has[SOURCES] = {[7] = 100000};
    long got[SOURCES] = {0};

    (void)play(turns, 256, has, got);
    (void)play(weighted, 256, has, got);
    got[7] = 0;
    for (int i = 0; i < TURNS_GUARD - 1; i++) {
        cr_expect_eq(play(turns, 256, has, got), 1);
        cr_expect_eq(play(weighted, 256, has, got), 1);
    }
    cr_expect_geq(got[7], 2 * (TURNS_GUARD - 1) * (256 - SOURCES));
    turns_free(turns);
    turns_free(weighted);
}

Test(turns, what_wakes_up_before_a_backlog_waits_one_round_at_most)
{
    struct turns *turns = make(false, 1, 1, 1);
    long has[SOURCES] = {[7] = 100000};
    long got[SOURCES] = {0};

    (void)play(turns, 256, has, got);
    (void)play(turns, 256, has, got);
    has[0] = 1000;
    got[7] = 0;
    (void)play(turns, 256, has, got);
    cr_expect_gt(got[0], 0);
    (void)play(turns, 256, has, got);
    cr_expect_gt(got[0], 256);
    cr_expect_lt(got[7], 256);
    turns_free(turns);
}

Test(turns, a_small_room_is_never_asked_ahead)
{
    struct turns *turns = make(false, 1, 1, 1);
    struct turns_ask ask;
    struct turns_ask ahead;
    long has[SOURCES] = {[7] = 100000};
    long got[SOURCES] = {0};

    (void)play(turns, 64, has, got);
    turns_begin(turns);
    cr_assert(turns_next(turns, 64, &ask));
    cr_assert_eq(ask.max, 1);
    cr_expect_not(turns_ahead(turns, 64, &ask, &ahead));
    turns_free(turns);
}

Test(turns, quiet_streams_cost_one_command_and_what_wakes_up_is_read_at_once)
{
    struct turns *turns = make(false, 1, 1, 1);
    long has[SOURCES] = {0};
    long got[SOURCES] = {0};

    (void)play(turns, 64, has, got);
    cr_expect_eq(play(turns, 64, has, got), 1);
    has[1] = 30;
    has[8] = 2;
    (void)play(turns, 64, has, got);
    cr_expect_eq(got[1], 30);
    cr_expect_eq(got[8], 2);
    turns_free(turns);
}

Test(turns, room_for_one_asks_in_strict_order)
{
    struct turns *turns = make(false, 1, 1, 1);
    long has[SOURCES] = {0};
    long got[SOURCES] = {0};

    (void)play(turns, 1, has, got);
    has[0] = 1;
    has[4] = 1;
    has[8] = 1;
    (void)play(turns, 1, has, got);
    cr_expect_eq(got[0], 1);
    (void)play(turns, 1, has, got);
    cr_expect_eq(got[4], 1);
    (void)play(turns, 1, has, got);
    cr_expect_eq(got[8], 1);
    turns_free(turns);
}

Test(turns, nothing_starves_for_ever_in_strict_order)
{
    enum { ROUNDS = TURNS_GUARD * 80 };
    struct turns *turns = make(false, 1, 1, 1);
    long has[SOURCES];
    long got[SOURCES] = {0};

    for (size_t i = 0; i < SOURCES; i++)
        has[i] = 1000000;
    for (int i = 0; i < ROUNDS; i++)
        (void)play(turns, 10, has, got);
    for (size_t i = 1; i < SOURCES; i++)
        cr_expect_geq(got[i], 10 * 80 / SOURCES - 10, "stream %zu got %ld", i, got[i]);
    cr_expect_geq(got[0], 10 * ROUNDS * (TURNS_GUARD - 2) / TURNS_GUARD);
    turns_free(turns);
}

Test(turns, the_guard_finds_the_one_that_waits_among_empty_ones)
{
    struct turns *turns = make(false, 1, 1, 1);
    long has[SOURCES] = {[0] = 1000000, [8] = 1000000};
    long got[SOURCES] = {0};

    for (int i = 0; i < TURNS_GUARD * 10 + 1; i++)
        (void)play(turns, 10, has, got);
    cr_expect_eq(got[8], 100);
    turns_free(turns);
}

static void expect_shares(int room, const int *weights, const long *wanted)
{
    struct turns *turns = make(true, weights[0], weights[1], weights[2]);
    long has[SOURCES] = {[1] = 1000000, [4] = 1000000, [7] = 1000000};
    long got[SOURCES] = {0};
    long total = wanted[0] + wanted[1] + wanted[2];

    while (sum(got, 0, SOURCES) < total)
        (void)play(turns, room, has, got);
    for (size_t q = 0; q < QUEUES; q++) {
        long share = sum(got, q * TURNS_PRIORITIES, TURNS_PRIORITIES);

        cr_expect(share >= wanted[q] - room && share <= wanted[q] + room,
                  "room %d: queue %zu got %ld, not %ld", room, q, share, wanted[q]);
    }
    turns_free(turns);
}

Test(turns, weights_share_jobs_whatever_the_room_is)
{
    static const int rooms[] = {1, 2, 3, 7, 8, 64, 256};

    for (size_t i = 0; i < COUNT_OF(rooms); i++) {
        expect_shares(rooms[i], (const int[]){6, 3, 1}, (const long[]){6000, 3000, 1000});
        expect_shares(rooms[i], (const int[]){1, 1, 1}, (const long[]){3000, 3000, 3000});
        expect_shares(rooms[i], (const int[]){1000, 1, 1}, (const long[]){100000, 100, 100});
    }
}

Test(turns, what_an_empty_queue_leaves_is_shared_by_the_others)
{
    struct turns *turns = make(true, 6, 3, 1);
    long has[SOURCES] = {[4] = 1000000, [7] = 1000000};
    long got[SOURCES] = {0};

    for (int i = 0; i < 100; i++)
        (void)play(turns, 40, has, got);
    cr_expect_eq(sum(got, 0, SOURCES), 4000);
    cr_expect(got[4] >= 2990 && got[4] <= 3010, "%ld", got[4]);
    turns_free(turns);
}

Test(turns, a_queue_that_was_empty_does_not_get_what_it_missed)
{
    struct turns *turns = make(true, 1, 1, 1);
    long has[SOURCES] = {[4] = 1000000};
    long got[SOURCES] = {0};

    for (int i = 0; i < 100; i++)
        (void)play(turns, 10, has, got);
    has[1] = 1000000;
    memset(got, 0, sizeof got);
    for (int i = 0; i < 10; i++)
        (void)play(turns, 10, has, got);
    cr_expect(got[1] >= 40 && got[1] <= 60, "%ld", got[1]);
    turns_free(turns);
}

Test(turns, priorities_within_a_weighted_queue_are_strict_and_do_not_starve)
{
    struct turns *turns = make(true, 2, 1, 1);
    long has[SOURCES];
    long got[SOURCES] = {0};

    for (size_t i = 0; i < SOURCES; i++)
        has[i] = 1000000;
    for (int i = 0; i < TURNS_GUARD * 40; i++)
        (void)play(turns, 8, has, got);
    for (size_t q = 0; q < SOURCES; q += TURNS_PRIORITIES) {
        long all = sum(got, q, TURNS_PRIORITIES);

        cr_expect_geq(got[q], all * 9 / 10);
        cr_expect_gt(got[q + 1], 0);
        cr_expect_gt(got[q + 2], 0);
    }
    turns_free(turns);
}

Test(turns, closed_queues_and_skipped_sources_are_not_asked)
{
    const struct turns_queue queues[QUEUES] = {
        {.weight = 1, .is_closed = true}, {.weight = 1, .is_joint = true}, {.weight = 1}};
    struct turns *turns = turns_new(queues, QUEUES, false);
    struct turns_ask ask;
    long has[SOURCES] = {9, 9, 9, 9, 0, 0, 9, 9, 9};
    long got[SOURCES] = {0};

    (void)play(turns, 20, has, got);
    cr_expect_eq(sum(got, 0, 3), 0);
    cr_expect_eq(got[3], 9);
    cr_expect_eq(got[4] + got[5], 0);
    cr_expect_eq(sum(got, 6, 3), 11);
    turns_begin(turns);
    turns_skip(turns, 3);
    cr_assert(turns_next(turns, 5, &ask));
    cr_expect_geq(ask.sources[0], 6);
    turns_free(turns);
}

Test(turns, a_joint_queue_is_asked_alone_for_all_the_room)
{
    const struct turns_queue queues[QUEUES] = {
        {.weight = 1}, {.weight = 1, .is_joint = true}, {.weight = 1}};
    struct turns *turns = turns_new(queues, QUEUES, false);
    struct turns_ask ask;
    long has[SOURCES] = {0};
    long got[SOURCES] = {0};

    (void)play(turns, 64, has, got);
    turns_begin(turns);
    cr_assert(turns_next(turns, 64, &ask));
    cr_expect_eq(ask.count, 3);
    for (size_t i = 0; i < ask.count; i++)
        turns_note(turns, ask.sources[i], ask.max, 0);
    cr_assert(turns_next(turns, 64, &ask));
    cr_expect_eq(ask.count, 1);
    cr_expect_eq(ask.sources[0], 3);
    cr_expect_eq(ask.max, 64);
    turns_free(turns);
}

Test(turns, the_priorities_of_a_joint_queue_each_begin_now_and_then)
{
    int first[TURNS_PRIORITIES] = {0};

    for (uint64_t reads = 0; reads < TURNS_GUARD * 10; reads++) {
        size_t order[TURNS_PRIORITIES];

        turns_priorities(reads, order);
        cr_expect_eq(order[0] + order[1] + order[2], 3);
        cr_expect_neq(order[0], order[1]);
        first[order[0]]++;
    }
    cr_expect_eq(first[0], (TURNS_GUARD - 1) * 10);
    cr_expect_eq(first[1], 5);
    cr_expect_eq(first[2], 5);
}
