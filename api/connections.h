/* SPDX-License-Identifier: MIT
 *
 * Which connections may keep their thread. civetweb gives each connection a thread until it is
 * closed, so a silent client would hold one. While threads are free that harms nobody, and a client
 * that comes back after seconds finds its connection open. When every thread is taken, somebody may
 * be waiting: then what is silent is cut, and what is busy hands its thread over after a slice.
 *
 * All functions may be called from any thread.
 */
#ifndef API_CONNECTIONS_H
#define API_CONNECTIONS_H

#include <stdbool.h>

enum { CONNECTION_IDLE_S = 30 }; /* how long a silent one lives while threads are free */

struct connections;
struct connection;

/* For a server of so many threads. NULL: no thread could be started to watch them. */
struct connections *connections_new(int threads);

/* After the last connection has gone; accepts NULL. */
void connections_free(struct connections *all);

/* How many have a thread. */
int connections_count(struct connections *all);

/* A thread has taken a connection. It belongs to `all` until connection_gone(), which has to be
 * called before its socket is closed. */
struct connection *connection_taken(struct connections *all);
void connection_gone(struct connections *all, struct connection *connection);

/* Between the head of a request and the end of its answer it is never cut, nor before its first
 * request, which civetweb bounds itself: only with that is the client's address known. */
void connection_begins(struct connection *connection, const char *address, int port);
void connection_ends(struct connection *connection);

/* Whether it was cut in the moment in which its request came: the rest of that is not read any
 * more. */
bool connection_is_cut(const struct connection *connection);

/* Whether the connection may wait for a further request; to be asked before the answer is written.
 * While every thread is taken it may not after a request that may have written: the next one is
 * likely to write, too, and what meets the cut gets no answer. Only a read can be sent again. */
bool connection_may_stay(const struct connections *all, const struct connection *connection,
                         bool is_safe);

/* The server is about to end: from now on silent ones are cut as if every thread were taken. */
void connections_drain(struct connections *all);

#endif
