/* SPDX-License-Identifier: MIT
 *
 * Which connections may keep their thread; see connections.h. civetweb knows one fixed time for
 * silent ones, so a watcher cuts them here. It sleeps while threads are free.
 *
 * Lock: `lock` guards the list, and a connection is looked up and cut under it, so that its
 * descriptor cannot meanwhile have become another's. A request takes no lock: its thread and the
 * watcher agree by the connection's state.
 */
#include "api/connections.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "api/sockets.h"
#include "common/clock.h"
#include "common/mem.h"

enum {
    /* While every thread is taken: */
    SLICE_MS = 100,  /* a busy one that reads has its thread for so long */
    SILENT_MS = 500, /* one that was answered may be silent for so long */
    LOOK_MS = 50,    /* how often the watcher looks */
    CUT_PART = 16,   /* and cuts this part of them */
};

enum state { BUSY, SILENT, CUT };

struct connection {
    LIST_ENTRY(connection) entry;
    char address[48];
    int port;
    atomic_int state;
    bool is_cut;                   /* its own thread's */
    int64_t taken_us;              /* monotonic, as all times here */
    atomic_int_fast64_t silent_us; /* since when */
};

struct connections {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* crowded, draining or over */
    pthread_t watcher;
    LIST_HEAD(connection_list, connection) list;
    int threads;
    atomic_int count;
    atomic_bool is_draining;
    bool is_over;
};

static bool is_crowded(const struct connections *all)
{
    return atomic_load(&all->is_draining) || atomic_load(&all->count) >= all->threads;
}

static bool is_silent_too_long(struct connection *connection, int64_t now_us)
{
    return atomic_load(&connection->state) == SILENT &&
           now_us - atomic_load(&connection->silent_us) >= SILENT_MS * US_PER_MS;
}

/* Unless its next request has just begun. What the kernel has already received is still read and
 * answered. */
static void cut(struct connection *connection)
{
    int before = SILENT;
    int fd = -1;

    if (atomic_compare_exchange_strong(&connection->state, &before, CUT))
        fd = socket_find_peer(connection->address, connection->port);
    if (fd >= 0)
        (void)shutdown(fd, SHUT_RD);
}

static struct connection *longest_silent(const struct connections *all, int64_t now_us)
{
    struct connection *found = NULL;
    struct connection *connection;

    LIST_FOREACH(connection, &all->list, entry)
    if (is_silent_too_long(connection, now_us) &&
        (!found || atomic_load(&connection->silent_us) < atomic_load(&found->silent_us)))
        found = connection;
    return found;
}

/* Those first who are the least likely to ask again just now, and a few at a time: when they are
 * gone and threads are free, the others may stay. */
static void cut_silent(struct connections *all)
{
    int64_t now_us = clock_mono_us();
    int count = atomic_load(&all->is_draining) ? INT_MAX : 1 + all->threads / CUT_PART;
    struct connection *connection;

    while (count-- > 0 && (connection = longest_silent(all, now_us)))
        cut(connection);
}

static void *watch(void *data)
{
    struct connections *all = data;

    (void)pthread_mutex_lock(&all->lock);
    while (!all->is_over) {
        if (is_crowded(all)) {
            struct timespec until = clock_timespec(clock_mono_us() + LOOK_MS * US_PER_MS);

            cut_silent(all);
            (void)pthread_cond_timedwait(&all->changed, &all->lock, &until);
        } else {
            (void)pthread_cond_wait(&all->changed, &all->lock);
        }
    }
    (void)pthread_mutex_unlock(&all->lock);
    return NULL;
}

struct connections *connections_new(int threads)
{
    struct connections *all = mem_alloc(sizeof *all);

    all->threads = threads;
    LIST_INIT(&all->list);
    (void)pthread_mutex_init(&all->lock, NULL);
    clock_cond_init(&all->changed);
    if (pthread_create(&all->watcher, NULL, watch, all) == 0)
        return all;
    (void)pthread_cond_destroy(&all->changed);
    (void)pthread_mutex_destroy(&all->lock);
    mem_free(all);
    return NULL;
}

void connections_free(struct connections *all)
{
    if (!all)
        return;
    (void)pthread_mutex_lock(&all->lock);
    all->is_over = true;
    (void)pthread_cond_signal(&all->changed);
    (void)pthread_mutex_unlock(&all->lock);
    (void)pthread_join(all->watcher, NULL);
    (void)pthread_cond_destroy(&all->changed);
    (void)pthread_mutex_destroy(&all->lock);
    mem_free(all);
}

void connections_drain(struct connections *all)
{
    (void)pthread_mutex_lock(&all->lock);
    atomic_store(&all->is_draining, true);
    (void)pthread_cond_signal(&all->changed);
    (void)pthread_mutex_unlock(&all->lock);
}

int connections_count(struct connections *all) { return atomic_load(&all->count); }

struct connection *connection_taken(struct connections *all)
{
    struct connection *connection = mem_alloc(sizeof *connection);

    connection->taken_us = clock_mono_us();
    (void)pthread_mutex_lock(&all->lock);
    LIST_INSERT_HEAD(&all->list, connection, entry);
    (void)atomic_fetch_add(&all->count, 1);
    if (is_crowded(all))
        (void)pthread_cond_signal(&all->changed);
    (void)pthread_mutex_unlock(&all->lock);
    return connection;
}

void connection_gone(struct connections *all, struct connection *connection)
{
    (void)pthread_mutex_lock(&all->lock);
    LIST_REMOVE(connection, entry);
    (void)atomic_fetch_sub(&all->count, 1);
    (void)pthread_mutex_unlock(&all->lock);
    mem_free(connection);
}

void connection_begins(struct connection *connection, const char *address, int port)
{
    if (atomic_exchange(&connection->state, BUSY) == CUT)
        connection->is_cut = true;
    if (connection->port == 0) { /* it has never been silent yet, so nobody else looks at these */
        (void)snprintf(connection->address, sizeof connection->address, "%s", address);
        connection->port = port;
    }
}

void connection_ends(struct connection *connection)
{
    atomic_store(&connection->silent_us, clock_mono_us());
    atomic_store(&connection->state, SILENT);
}

bool connection_is_cut(const struct connection *connection) { return connection->is_cut; }

bool connection_may_stay(const struct connections *all, const struct connection *connection,
                         bool is_safe)
{
    if (connection->is_cut)
        return false;
    return !is_crowded(all) ||
           (is_safe && clock_mono_us() - connection->taken_us < SLICE_MS * US_PER_MS);
}
