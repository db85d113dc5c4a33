/* SPDX-License-Identifier: MIT
 *
 * Connections are lent to one request at a time, to who has waited longest first; who waits in vain
 * gets some that refuse every use.
 */
#include "api/backends.h"

#include <pthread.h>
#include <stdatomic.h>

#include <criterion/criterion.h>
#include <poll.h>

#include "common/clock.h"
#include "common/db.h"
#include "common/redis.h"

enum { COUNT = 2, CROWD = 8, TURNS = 2000, LONG_S = 60 };

static struct borrower *first;

static void open_some(void)
{
    static char database[] = "postgresql://nowhere/none";
    static char redis[] = "redis://127.0.0.1:1/0";
    static struct conf conf = {
        .database_url = database,
        .redis_url = redis,
        .api_connections = COUNT,
    };

    backends_init(&conf);
    first = borrower_new();
}

static void close_all(void)
{
    borrower_free(first);
    backends_end();
}

static int64_t in_seconds(int seconds) { return clock_mono_us() + seconds * US_PER_S; }

TestSuite(backends, .init = open_some, .fini = close_all);

Test(backends, are_lent_once_the_last_used_first)
{
    struct borrower *second = borrower_new();
    struct backends *one = backends_take(first, in_seconds(LONG_S));
    struct backends *other = backends_take(second, in_seconds(LONG_S));

    cr_assert_neq(one, other);
    cr_assert_eq(backends_lent(), COUNT);
    backends_give_back(second, other);
    backends_give_back(first, one);
    cr_assert_eq(backends_lent(), 0);
    cr_assert_eq(backends_take(second, in_seconds(LONG_S)), one);
    backends_give_back(second, one);
    borrower_free(second);
}

Test(backends, of_nobody_refuse_every_use)
{
    struct backends *lent[COUNT];
    struct backends *none;
    struct err e = {0};

    for (int i = 0; i < COUNT; i++)
        lent[i] = backends_take(first, in_seconds(LONG_S));
    none = backends_take(first, clock_mono_us() + 1000);
    cr_assert_eq(db_ping(none->db, &e), ERR_UNAVAILABLE);
    cr_assert_eq(redis_connect(none->redis, NULL), ERR_UNAVAILABLE);
    cr_assert_null(none->replica);
    backends_give_back(first, none);
    cr_assert_eq(backends_lent(), COUNT, "what refuses is not lent to others");
    for (int i = 0; i < COUNT; i++)
        backends_give_back(first, lent[i]);
    cr_assert_eq(backends_lent(), 0);
}

struct waiter {
    pthread_t thread;
    atomic_int *turn;
    int served;
};

static void *wait_for_turn(void *data)
{
    struct waiter *waiter = data;
    struct borrower *mine = borrower_new();
    struct backends *lent = backends_take(mine, in_seconds(LONG_S));

    waiter->served = atomic_fetch_add(waiter->turn, 1);
    backends_give_back(mine, lent);
    borrower_free(mine);
    return NULL;
}

Test(backends, go_to_who_has_waited_longest)
{
    struct waiter waiters[CROWD] = {0};
    struct backends *lent[COUNT];
    atomic_int turn = 0;

    for (int i = 0; i < COUNT; i++)
        lent[i] = backends_take(first, in_seconds(LONG_S));
    for (int i = 0; i < CROWD; i++) {
        waiters[i].turn = &turn;
        cr_assert_eq(pthread_create(&waiters[i].thread, NULL, wait_for_turn, &waiters[i]), 0);
        while (backends_waiting() <= i)
            (void)poll(NULL, 0, 1);
    }
    backends_give_back(first, lent[0]); /* one at a time gets on with it */
    for (int i = 0; i < CROWD; i++) {
        (void)pthread_join(waiters[i].thread, NULL);
        cr_assert_eq(waiters[i].served, i);
    }
    backends_give_back(first, lent[1]);
    cr_assert_eq(backends_lent(), 0);
}

static atomic_int users;
static atomic_bool shared;

static void *take_and_give_back(void *unused)
{
    struct borrower *mine = borrower_new();

    for (int i = 0; i < TURNS; i++) {
        struct backends *lent = backends_take(mine, in_seconds(LONG_S));

        if (atomic_fetch_add(&users, 1) >= COUNT)
            atomic_store(&shared, true);
        (void)atomic_fetch_sub(&users, 1);
        backends_give_back(mine, lent);
    }
    borrower_free(mine);
    return unused;
}

Test(backends, are_never_lent_twice)
{
    pthread_t threads[CROWD];

    for (int i = 0; i < CROWD; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, take_and_give_back, NULL), 0);
    for (int i = 0; i < CROWD; i++)
        (void)pthread_join(threads[i], NULL);
    cr_assert_not(atomic_load(&shared));
    cr_assert_eq(backends_lent(), 0);
    cr_assert_eq(backends_waiting(), 0);
}
