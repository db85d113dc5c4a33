/* SPDX-License-Identifier: MIT
 *
 * Wrong passwords of the dashboard: who waits, and who does not.
 */
#include "api/dashboard/guesses.h"

#include <stdio.h>

#include <criterion/criterion.h>

#include "common/clock.h"

enum { NOW_S = 1000 };

static struct guess guess_of(const char *name, const char *address, int64_t now_s)
{
    return (struct guess){
        .name = name, .address = address, .is_user = true, .now_us = now_s * US_PER_S};
}

/* One try: whether it was compared. */
static bool try_it(struct guesses *guesses, struct guess guess, bool is_right)
{
    if (guesses_begin(guesses, &guess) > 0)
        return false;
    guesses_end(guesses, &guess, is_right);
    return true;
}

Test(guesses, ten_wrong_ones_at_an_address_and_it_waits_five_minutes_even_with_the_right_one)
{
    struct guesses *guesses = guesses_new();
    struct guess guess = guess_of("ann", "10.0.0.1", NOW_S);

    for (int i = 0; i < GUESSES_PAIR; i++)
        cr_expect(try_it(guesses, guess, false));
    cr_expect_eq(guesses_begin(guesses, &guess), GUESSES_PAIR_S);
    guess.now_us += (GUESSES_PAIR_S - 1) * US_PER_S;
    cr_expect_eq(guesses_begin(guesses, &guess), 1);
    guess.now_us += US_PER_S;
    cr_expect(try_it(guesses, guess, true));
    guesses_free(guesses);
}

Test(guesses, a_stranger_locks_nobody_out_elsewhere)
{
    struct guesses *guesses = guesses_new();

    for (int i = 0; i < 1000; i++)
        (void)try_it(guesses, guess_of("ann", "10.0.0.1", NOW_S + i), false);
    cr_expect(try_it(guesses, guess_of("ann", "10.0.0.2", NOW_S + 1000), true));
    guesses_free(guesses);
}

Test(guesses, many_addresses_wait_for_each_other_and_the_known_one_does_not)
{
    struct guesses *guesses = guesses_new();
    int compared = 0;

    cr_expect(try_it(guesses, guess_of("ann", "192.0.2.7", NOW_S), true));
    for (int i = 0; i < 3600; i++) {
        char address[32];

        (void)snprintf(address, sizeof address, "10.0.%d.%d", i / 250, i % 250);
        compared += try_it(guesses, guess_of("ann", address, NOW_S + i), false);
    }
    cr_expect_leq(compared, GUESSES_NAME + 8 + 3600 / 300);
    cr_expect(try_it(guesses, guess_of("ann", "192.0.2.7", NOW_S + 3600), true));
    /* Its logging in does not begin the others' count anew. */
    cr_expect_not(try_it(guesses, guess_of("ann", "10.9.9.1", NOW_S + 3600), false) &&
                  try_it(guesses, guess_of("ann", "10.9.9.2", NOW_S + 3600), false));
    guesses_free(guesses);
}

Test(guesses, an_address_tries_so_many_names_a_minute)
{
    struct guesses *guesses = guesses_new();
    int compared[2] = {0, 0};

    for (int i = 0; i < 1000; i++) {
        char name[32];
        struct guess guess;

        (void)snprintf(name, sizeof name, "name-%d", i);
        guess = guess_of(name, "10.0.0.1", NOW_S);
        guess.is_user = false;
        compared[0] += try_it(guesses, guess, false);
        guess.address = "";
        compared[1] += try_it(guesses, guess, false);
    }
    cr_expect_eq(compared[0], GUESSES_ADDRESS);
    cr_expect_eq(compared[1], GUESSES_LOCAL);
    cr_expect(try_it(guesses, guess_of("ann", "10.0.0.1", NOW_S + 60), true));
    guesses_free(guesses);
}

Test(guesses, invented_names_drive_out_no_count_of_a_user)
{
    struct guesses *guesses = guesses_new();

    for (int i = 0; i < GUESSES_PAIR; i++)
        cr_expect(try_it(guesses, guess_of("ann", "10.0.0.1", NOW_S), false));
    for (int i = 0; i < 50000; i++) {
        char text[32];
        struct guess guess;

        (void)snprintf(text, sizeof text, "n%d", i);
        guess = guess_of(text, text, NOW_S + 1);
        guess.is_user = false;
        (void)try_it(guesses, guess, false);
    }
    cr_expect_not(try_it(guesses, guess_of("ann", "10.0.0.1", NOW_S + 2), true));
    guesses_free(guesses);
}
