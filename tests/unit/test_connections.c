/* SPDX-License-Identifier: MIT
 *
 * Which connections may keep their thread, and what a request learns whose connection was cut.
 */
#include "api/connections.h"

#include <time.h>

#include <criterion/criterion.h>

enum { PORT = 1, ROUNDS = 60 };

static void wait_a_second(void)
{
    struct timespec time = {1, 0};

    (void)nanosleep(&time, NULL);
}

/* The connection is no socket's: nothing but its state is cut. */
static struct connection *kept(struct connections *all)
{
    struct connection *connection = connection_taken(all);

    connection_begins(connection, "127.0.0.1", PORT);
    connection_ends(connection);
    return connection;
}

Test(connections, one_that_is_asked_again_is_not_cut)
{
    struct connections *all = connections_new(4);
    struct connection *connection = kept(all);

    connection_begins(connection, "127.0.0.1", PORT);
    cr_expect(!connection_is_cut(connection));
    cr_expect(connection_may_stay(all, connection, true));
    connection_gone(all, connection);
    connections_free(all);
}

Test(connections, a_request_that_comes_while_its_connection_is_cut_knows)
{
    struct connections *all = connections_new(4);
    struct connection *connection = kept(all);

    connections_drain(all);
    for (int i = 0; i < ROUNDS && !connection_is_cut(connection); i++) {
        connection_ends(connection);
        wait_a_second(); /* longer than one may be silent now */
        connection_begins(connection, "127.0.0.1", PORT);
    }
    cr_expect(connection_is_cut(connection));
    cr_expect(!connection_may_stay(all, connection, true));
    connection_gone(all, connection);
    connections_free(all);
}

Test(connections, one_that_has_written_gives_its_thread_up_while_all_are_taken)
{
    struct connections *all = connections_new(2);
    struct connection *connection = kept(all);
    struct connection *other;

    cr_expect(connection_may_stay(all, connection, false), "a thread is free");
    other = kept(all);
    cr_expect(!connection_may_stay(all, other, false));
    connection_gone(all, other);
    connection_gone(all, connection);
    connections_free(all);
}
