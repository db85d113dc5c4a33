/* SPDX-License-Identifier: MIT
 *
 * Renewing what may have been taken over meanwhile: what is ours is renewed, what is another's
 * stays so, and what is nobody's is not made ours.
 */
#include "common/queue_lease.h"

#include <signal.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/integration/redis_words.h"
#include "tests/integration/stores.h"

enum { ENTRIES = 3, LEASE_MS = 60 * 1000 };

static struct redis *redis;
static struct queue_script script;
static struct queue_stream streams[2];
static struct queue_entry held[ENTRIES * 2]; /* of both streams, in turn */
static struct err e;

/* Two streams with entries that "me" has read, idle for longer than a lease. */
static void start(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    redis = redis_open(need_setting("REDIS_URL"), "test_queue_lease", 5000);
    do_it(redis, WORDS("FLUSHDB"));
    script = (struct queue_script){.text = NULL};
    streams[0] = queue_stream_of("first", JOB_PRIORITY_NORMAL);
    streams[1] = queue_stream_of("second", JOB_PRIORITY_HIGH);
    cr_assert_eq(queue_create_groups(redis, streams, 2, &e), ERR_OK, "%s", e.text);
    for (size_t i = 0; i < COUNT_OF(held); i++) {
        held[i].stream = i % 2;
        (void)snprintf(held[i].entry, sizeof held[i].entry, "%zu-0", i + 1);
        do_it(redis, WORDS("XADD", streams[i % 2].key, held[i].entry, "job", "1"));
    }
    for (size_t s = 0; s < 2; s++)
        do_it(redis,
              WORDS("XREADGROUP", "GROUP", QUEUE_GROUP, "me", "STREAMS", streams[s].key, ">"));
    for (size_t i = 0; i < COUNT_OF(held); i++)
        do_it(redis, WORDS("XCLAIM", streams[i % 2].key, QUEUE_GROUP, "me", "0", held[i].entry,
                           "IDLE", "90000", "JUSTID"));
}

static void finish(void) { redis_close(redis); }

TestSuite(queue_lease, .init = start, .fini = finish, .timeout = 60);

static size_t renew(void)
{
    size_t lost = 99;

    cr_assert_eq(queue_renew_own(redis, &script, streams, "me", held, COUNT_OF(held), &lost, &e),
                 ERR_OK, "%s: %s", e.text, e.detail);
    return lost;
}

/* What can still be taken over, its lease having run out. */
static size_t overdue(void)
{
    size_t count = 0;

    for (size_t s = 0; s < 2; s++) {
        AUTO_VALUE(queue_deliveries_release) struct queue_deliveries taken = {0};
        char cursor[QUEUE_ENTRY_SIZE] = "0-0";

        cr_assert_eq(queue_take_over(redis, streams, s, "taker", 100, LEASE_MS, cursor, &taken, &e),
                     ERR_OK, "%s", e.text);
        count += taken.count;
    }
    return count;
}

Test(queue_lease, what_is_ours_is_renewed)
{
    cr_assert_eq(renew(), 0);
    cr_assert_eq(overdue(), 0);
}

Test(queue_lease, what_was_taken_over_stays_the_other_ones)
{
    do_it(redis, WORDS("XCLAIM", streams[1].key, QUEUE_GROUP, "other", "0", "4-0", "IDLE", "90000",
                       "JUSTID"));
    do_it(redis, WORDS("XCLAIM", streams[0].key, QUEUE_GROUP, "other", "0", "1-0", "IDLE", "90000",
                       "JUSTID"));

    cr_assert_eq(renew(), 2);

    for (size_t i = 0; i < 2; i++)
        cr_expect(strcmp(held[i].entry, "4-0") == 0 || strcmp(held[i].entry, "1-0") == 0, "%s",
                  held[i].entry);
    cr_assert_str_neq(held[0].entry, held[1].entry);
    cr_assert_eq(overdue(), 2, "those of the other one, and none of ours");
}

Test(queue_lease, what_is_nobodys_is_not_made_ours)
{
    do_it(redis, WORDS("XACK", streams[0].key, QUEUE_GROUP, "3-0"));
    cr_assert_eq(renew(), 1);
    cr_assert_str_eq(held[0].entry, "3-0");
}

Test(queue_lease, a_stream_without_its_group_takes_nothing_from_us)
{
    do_it(redis, WORDS("XGROUP", "DESTROY", streams[0].key, QUEUE_GROUP));
    do_it(redis, WORDS("XCLAIM", streams[1].key, QUEUE_GROUP, "other", "0", "2-0", "JUSTID"));
    cr_assert_eq(renew(), 1);
    cr_assert_str_eq(held[0].entry, "2-0");
}

Test(queue_lease, a_server_that_has_forgotten_the_script_is_told_again)
{
    cr_assert_eq(renew(), 0);
    do_it(redis, WORDS("SCRIPT", "FLUSH"));
    cr_assert_eq(renew(), 0);
}
