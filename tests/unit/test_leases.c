/* SPDX-License-Identifier: MIT
 *
 * Whose look-ups stand for others, for how long, and which writes have to wait.
 */
#include "api/leases.h"

#include <criterion/criterion.h>

#include "common/clock.h"

enum { LIFE_US = 10 * 1000, CLIENTS = 16, WAIT_US = 30 * 1000, USER = 42 };

static int64_t now_us = 1000 * US_PER_S;
static struct lease_user clients[CLIENTS];
static struct users_asking found = {
    .users = {{.id = USER, .is_active = true, .is_staff = true, .username = "jo"}},
    .count = 1,
    .catalogue_version = 7,
    .users_version = 3,
    .api_sessions = 5,
};

static void pass(int64_t us)
{
    now_us += us;
    clock_fix(0, now_us);
}

static void look(void)
{
    struct lease_start start = leases_look();

    leases_looked(&start, &found);
}

/* Everybody asks, so that there is a crowd; how many were told. */
static int ask(int clients_count)
{
    struct user_asking user;
    int told = 0;

    for (int i = 0; i < clients_count; i++)
        told += leases_find(&clients[i], USER, clients_count, clock_mono_us(), &user);
    return told;
}

/* As after a second alone. */
static void begin(void)
{
    pass(0);
    leases_init(LIFE_US);
    leases_session_begins();
    look();
    pass(US_PER_S);
    (void)ask(CLIENTS);
    look();
}

TestSuite(leases, .init = begin, .fini = clock_real);

Test(leases, tell_what_the_look_up_told_until_they_are_over)
{
    struct user_asking user = {0};

    cr_assert(leases_find(&clients[0], USER, CLIENTS, clock_mono_us(), &user));
    cr_expect_eq(user.id, USER);
    cr_expect(user.is_active && user.is_staff);
    cr_expect_str_eq(user.username, "jo");
    cr_expect_eq(user.catalogue_version, 7);
    cr_expect_not(leases_find(&clients[0], USER + 1, CLIENTS, clock_mono_us(), &user),
                  "nobody has asked for that");
    pass(LIFE_US / 2);
    cr_expect_eq(ask(CLIENTS), CLIENTS);
    pass(LIFE_US / 2 - 1);
    cr_expect_eq(ask(CLIENTS), CLIENTS - 1, "one looks up, the others go on");
    cr_expect_eq(ask(CLIENTS), CLIENTS);
    pass(1);
    cr_expect_eq(ask(CLIENTS), 0);
}

Test(leases, live_from_before_the_look_up_was_sent)
{
    struct lease_start start = leases_look();

    pass(LIFE_US - 1);
    leases_looked(&start, &found);
    cr_expect_geq(ask(CLIENTS), CLIENTS - 1);
    pass(1);
    cr_expect_eq(ask(CLIENTS), 0);
}

Test(leases, end_with_a_write_and_with_look_ups_that_began_before_it)
{
    struct lease_start start = leases_look();

    cr_expect_eq(ask(CLIENTS), CLIENTS);
    leases_note_write();
    cr_expect_eq(ask(CLIENTS), 0);
    leases_looked(&start, &found);
    cr_expect_eq(ask(CLIENTS), 0);
    look();
    cr_expect_eq(ask(CLIENTS), CLIENTS);
}

Test(leases, are_for_crowds_alone)
{
    struct user_asking user;

    pass(100 * US_PER_MS);
    look();
    for (int i = 0; i < 100; i++)
        cr_assert_not(leases_find(&clients[0], USER, CLIENTS, clock_mono_us(), &user));
    cr_expect_eq(ask(7), 0);
    cr_expect_eq(ask(CLIENTS), CLIENTS - 7, "from the eighth on");
    cr_expect_eq(ask(7), 0, "who has gone is no crowd");
}

Test(leases, are_not_made_beside_another_process)
{
    found.api_sessions = 0;
    look();
    pass(LIFE_US);
    look();
    cr_expect_eq(ask(CLIENTS), 0);
    found.api_sessions = 6;
    look();
    pass(US_PER_S - 1);
    look();
    cr_expect_eq(ask(CLIENTS), 0, "it may not know yet that we have lost sight of it");
    pass(1);
    (void)ask(CLIENTS);
    look();
    cr_expect_eq(ask(CLIENTS), CLIENTS);
}

Test(leases, are_not_made_when_another_one_came_and_went_unseen)
{
    found.api_sessions++;
    pass(LIFE_US);
    look();
    cr_expect_eq(ask(CLIENTS), 0);
}

Test(leases, know_users_of_one_state_and_session)
{
    found.users_version++;
    found.count = 0;
    look();
    cr_expect_eq(ask(CLIENTS), 0, "somebody was changed");
    found.count = 1;
    look();
    cr_expect_eq(ask(CLIENTS), CLIENTS);
    leases_session_ends();
    leases_session_begins();
    found.count = 0;
    look();
    pass(US_PER_S);
    (void)ask(CLIENTS);
    look();
    cr_expect_eq(ask(CLIENTS), 0, "it may be another database");
}

Test(leases, know_nobody_who_is_not_active)
{
    found.users_version++;
    found.users[0].is_active = false;
    look();
    cr_expect_eq(ask(CLIENTS), 0);
}

Test(leases, let_writes_of_a_process_that_is_seen_go_at_once)
{
    cr_expect_eq(leases_wait_us(), 0);
    pass(750 * US_PER_MS);
    cr_expect_eq(leases_wait_us(), 0);
    pass(1);
    cr_expect_eq(leases_wait_us(), WAIT_US, "the others may have lost sight of it");
    look();
    cr_expect_eq(leases_wait_us(), 0);
    leases_session_ends();
    cr_expect_eq(leases_wait_us(), WAIT_US);
    leases_session_begins();
    look();
    cr_expect_eq(leases_wait_us(), WAIT_US);
    pass(WAIT_US - 1);
    cr_expect_eq(leases_wait_us(), 1);
    pass(1);
    cr_expect_eq(leases_wait_us(), 0);
}

Test(leases, are_not_there_when_nobody_wants_them)
{
    leases_init(0);
    look();
    cr_expect_eq(ask(CLIENTS), 0);
    leases_session_ends();
    cr_expect_eq(leases_wait_us(), 0);
}
