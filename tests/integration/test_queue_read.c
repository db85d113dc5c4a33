/* SPDX-License-Identifier: MIT
 *
 * Two reads in one round trip: what each brings, and that neither's failure loses what the other
 * has brought, which is pending under the reader's name.
 */
#include "common/queue.h"

#include <signal.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/integration/redis_words.h"
#include "tests/integration/stores.h"

enum { STREAMS = 3, QUIET = 2 };

static struct redis *redis;
static struct queue_stream streams[STREAMS];
static struct queue_deliveries got;
static struct err e;

static void start(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    redis = redis_open(need_setting("REDIS_URL"), "test_queue_read", 5000);
    do_it(redis, WORDS("FLUSHDB"));
    streams[0] = queue_stream_of("first", JOB_PRIORITY_HIGH);
    streams[1] = queue_stream_of("first", JOB_PRIORITY_NORMAL);
    streams[2] = queue_stream_of("second", JOB_PRIORITY_NORMAL);
    cr_assert_eq(queue_create_groups(redis, streams, STREAMS, &e), ERR_OK, "%s", e.text);
}

static void finish(void)
{
    queue_deliveries_release(&got);
    redis_close(redis);
}

TestSuite(queue_read, .init = start, .fini = finish, .timeout = 60);

static void fill(size_t stream, int count)
{
    for (int i = 0; i < count; i++)
        do_it(redis, WORDS("XADD", streams[stream].key, "*", "task", "till.tasks.noop"));
}

/* One of each of the first two, and up to `max` of the third. */
static enum err_code read_both(int max)
{
    const size_t count[2] = {QUIET, STREAMS - QUIET};
    const int most[2] = {1, max};

    queue_deliveries_release(&got);
    err_clear(&e);
    return queue_read_both(redis, streams, count, most, "me", &got, &e);
}

static void expect_from(size_t stream, size_t wanted)
{
    size_t found = 0;

    for (size_t i = 0; i < got.count; i++)
        found += got.items[i].stream == stream && got.items[i].kind == DELIVERY_FAST;
    cr_expect_eq(found, wanted, "%zu of stream %zu, not %zu", found, stream, wanted);
}

Test(queue_read, each_gives_what_it_was_asked_for)
{
    fill(1, 2);
    fill(2, 5);
    cr_assert_eq(read_both(3), ERR_OK);
    expect_from(0, 0);
    expect_from(1, 1);
    expect_from(2, 3);
    cr_assert_eq(read_both(3), ERR_OK);
    expect_from(1, 1);
    expect_from(2, 2);
    cr_assert_eq(read_both(3), ERR_OK);
    cr_expect_eq(got.count, 0);
}

Test(queue_read, a_group_that_is_gone_is_made_anew_and_takes_nothing_with_it)
{
    fill(2, 2);
    do_it(redis, WORDS("DEL", streams[0].key));
    cr_assert_eq(read_both(9), ERR_OK, "%s", e.text);
    expect_from(2, 2);
    fill(0, 1);
    fill(2, 1);
    do_it(redis, WORDS("DEL", streams[2].key));
    cr_assert_eq(read_both(9), ERR_OK, "%s", e.text);
    expect_from(0, 1);
    fill(2, 1);
    cr_assert_eq(read_both(9), ERR_OK, "%s", e.text);
    expect_from(2, 1);
}

Test(queue_read, all_data_gone)
{
    do_it(redis, WORDS("FLUSHDB"));
    cr_assert_eq(read_both(9), ERR_OK, "%s", e.text);
    cr_expect_eq(got.count, 0);
    fill(2, 1);
    cr_assert_eq(read_both(9), ERR_OK, "%s", e.text);
    expect_from(2, 1);
}

Test(queue_read, what_one_brought_comes_with_the_error_of_the_other)
{
    fill(2, 2);
    do_it(redis, WORDS("SET", streams[0].key, "no stream"));
    cr_assert_eq(read_both(9), ERR_UNAVAILABLE);
    cr_expect_not_null(strstr(e.text, "was no stream"), "%s: %s", e.text, e.detail);
    expect_from(2, 2);
    cr_assert_eq(read_both(9), ERR_OK, "%s", e.text);
    fill(0, 1);
    do_it(redis, WORDS("SET", streams[2].key, "no stream"));
    cr_assert_eq(read_both(9), ERR_UNAVAILABLE);
    expect_from(0, 1);
}
