/* SPDX-License-Identifier: MIT
 *
 * Which connections may keep their thread, which are cut first, and what a request learns whose
 * connection was cut. They are real ones on the loopback: a cut is seen as the end of what can be
 * read.
 */
#include "api/connections.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/clock.h"

enum { DEADLINE_MS = 60 * 1000 };

/* One connection, both of its ends. */
struct wire {
    struct connection *connection;
    int server;
    int client;
    int port; /* the client's */
};

static const char address[] = "127.0.0.1";

static struct wire wire_new(struct connections *all)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct wire wire = {.client = socket(AF_INET, SOCK_STREAM, 0)};

    cr_assert_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&at, &size), 0);
    cr_assert_eq(connect(wire.client, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(getsockname(wire.client, (struct sockaddr *)&at, &size), 0);
    wire.port = ntohs(at.sin_port);
    wire.server = accept(listener, NULL, NULL);
    cr_assert_geq(wire.server, 0);
    (void)close(listener);
    wire.connection = connection_taken(all);
    return wire;
}

static void asked(struct wire *wire) { connection_begins(wire->connection, address, wire->port); }

/* No two at the same microsecond. */
static void answered(struct wire *wire)
{
    int64_t now_us = clock_mono_us();

    connection_ends(wire->connection);
    while (clock_mono_us() == now_us)
        continue;
}

static void wire_end(struct connections *all, struct wire *wire)
{
    connection_gone(all, wire->connection);
    (void)close(wire->server);
    (void)close(wire->client);
}

static bool is_cut_within(const struct wire *wire, int ms)
{
    struct pollfd end = {.fd = wire->server, .events = POLLIN};

    return poll(&end, 1, ms) == 1;
}

Test(connections, one_that_is_asked_again_is_not_cut)
{
    struct connections *all = connections_new(4);
    struct wire wire = wire_new(all);

    asked(&wire);
    answered(&wire);
    asked(&wire);
    cr_expect(!connection_is_cut(wire.connection));
    cr_expect(connection_may_stay(all, wire.connection, true));
    wire_end(all, &wire);
    connections_free(all);
}

Test(connections, a_request_that_comes_while_its_connection_is_cut_knows)
{
    struct connections *all = connections_new(4);
    struct wire wire = wire_new(all);

    asked(&wire);
    answered(&wire);
    connections_drain(all);
    cr_assert(is_cut_within(&wire, DEADLINE_MS));
    asked(&wire);
    cr_expect(connection_is_cut(wire.connection));
    cr_expect(!connection_may_stay(all, wire.connection, true));
    wire_end(all, &wire);
    connections_free(all);
}

Test(connections, one_that_has_written_gives_its_thread_up_while_all_are_taken)
{
    struct connections *all = connections_new(2);
    struct wire one = wire_new(all);
    struct wire other;

    asked(&one);
    cr_expect(connection_may_stay(all, one.connection, false), "a thread is free");
    other = wire_new(all);
    asked(&other);
    cr_expect(!connection_may_stay(all, other.connection, false));
    wire_end(all, &other);
    wire_end(all, &one);
    connections_free(all);
}

enum { CROWD = 6 };

/* Waits until one more of a crowd is cut, and returns how many are. `ends` stand newest first, so
 * that one that is cut between two looks at them counts for an older. */
static int wait_for_cut(struct pollfd *ends, int cut)
{
    int now = 0;

    cr_assert_geq(poll(ends, (nfds_t)(CROWD - cut), DEADLINE_MS), 1);
    (void)poll(ends, CROWD, 0);
    for (int i = 0; i < CROWD; i++) {
        cr_expect(now == 0 || ends[i].revents, "the longest silent one is cut first");
        now += ends[i].revents != 0;
    }
    return now;
}

/* All threads are taken by silent ones. Returns whether they were seen to be cut one after the
 * other, which whoever was held up does not see. */
static bool watch_a_crowd_cut(void)
{
    const int order[CROWD] = {3, 0, 5, 1, 4, 2};
    struct connections *all = connections_new(CROWD);
    struct wire wires[CROWD];
    struct pollfd ends[CROWD];
    bool is_gradual = false;

    for (int i = 0; i < CROWD; i++) {
        wires[i] = wire_new(all);
        asked(&wires[i]);
    }
    for (int i = 0; i < CROWD; i++) {
        answered(&wires[order[i]]);
        ends[CROWD - 1 - i] = (struct pollfd){.fd = wires[order[i]].server, .events = POLLIN};
    }
    for (int cut = 0; cut < CROWD; is_gradual |= cut < CROWD)
        cut = wait_for_cut(ends, cut);
    for (int i = 0; i < CROWD; i++)
        wire_end(all, &wires[i]);
    connections_free(all);
    return is_gradual;
}

Test(connections, while_all_threads_are_taken_the_longest_silent_one_is_cut_first)
{
    int64_t deadline_us = clock_mono_us() + DEADLINE_MS * US_PER_MS;
    bool is_gradual = false;

    while (!is_gradual && clock_mono_us() < deadline_us)
        is_gradual = watch_a_crowd_cut();
    cr_expect(is_gradual);
}
