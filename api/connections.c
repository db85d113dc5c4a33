/* SPDX-License-Identifier: MIT
 *
 * Which connections may keep their thread; see connections.h. civetweb knows one fixed time for
 * silent ones, so a watcher cuts them here. It sleeps while threads are free.
 *
 * Lock: `lock` guards everything, and a connection is looked up and cut under it, so that its
 * descriptor cannot meanwhile have become another's.
 */
#include "api/connections.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "api/sockets.h"
#include "common/clock.h"
#include "common/mem.h"

enum {
    /* While every thread is taken: */
    SLICE_MS = 100,  /* a busy one has its thread for so long */
    SILENT_MS = 500, /* one that was answered may be silent for so long */
    LOOK_MS = 50,    /* how often the watcher looks */
};

struct connection {
    LIST_ENTRY(connection) entry;
    char address[48];
    int port;
    bool is_silent;
    bool is_cut;
    int64_t taken_us;  /* monotonic, as all times here */
    int64_t silent_us; /* since when */
};

struct connections {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* crowded, draining or over */
    pthread_t watcher;
    LIST_HEAD(connection_list, connection) list;
    int threads;
    int count;
    bool is_draining;
    bool is_over;
};

static bool is_crowded(const struct connections *all)
{
    return all->is_draining || all->count >= all->threads;
}

static bool is_silent_too_long(const struct connection *connection, int64_t now_us)
{
    return connection->is_silent && !connection->is_cut &&
           now_us - connection->silent_us >= SILENT_MS * US_PER_MS;
}

/* What the kernel has already received is still read and answered. */
static void cut(struct connection *connection)
{
    int fd = socket_find_peer(connection->address, connection->port);

    connection->is_cut = true;
    if (fd >= 0)
        (void)shutdown(fd, SHUT_RD);
}

static void cut_silent(struct connections *all)
{
    int64_t now_us = clock_mono_us();
    struct connection *connection;

    LIST_FOREACH(connection, &all->list, entry)
    if (is_silent_too_long(connection, now_us))
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
    pthread_condattr_t attributes;

    all->threads = threads;
    LIST_INIT(&all->list);
    (void)pthread_mutex_init(&all->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&all->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    if (pthread_create(&all->watcher, NULL, watch, all) == 0)
        return all;
    (void)pthread_cond_destroy(&all->changed);
    (void)pthread_mutex_destroy(&all->lock);
    mem_free(all);
    return NULL;
}

static void change(struct connections *all, bool *flag)
{
    (void)pthread_mutex_lock(&all->lock);
    *flag = true;
    (void)pthread_cond_signal(&all->changed);
    (void)pthread_mutex_unlock(&all->lock);
}

void connections_free(struct connections *all)
{
    if (!all)
        return;
    change(all, &all->is_over);
    (void)pthread_join(all->watcher, NULL);
    (void)pthread_cond_destroy(&all->changed);
    (void)pthread_mutex_destroy(&all->lock);
    mem_free(all);
}

void connections_drain(struct connections *all) { change(all, &all->is_draining); }

int connections_count(struct connections *all)
{
    int count;

    (void)pthread_mutex_lock(&all->lock);
    count = all->count;
    (void)pthread_mutex_unlock(&all->lock);
    return count;
}

struct connection *connection_taken(struct connections *all)
{
    struct connection *connection = mem_alloc(sizeof *connection);

    connection->taken_us = clock_mono_us();
    (void)pthread_mutex_lock(&all->lock);
    LIST_INSERT_HEAD(&all->list, connection, entry);
    all->count++;
    if (is_crowded(all))
        (void)pthread_cond_signal(&all->changed);
    (void)pthread_mutex_unlock(&all->lock);
    return connection;
}

void connection_gone(struct connections *all, struct connection *connection)
{
    (void)pthread_mutex_lock(&all->lock);
    LIST_REMOVE(connection, entry);
    all->count--;
    (void)pthread_mutex_unlock(&all->lock);
    mem_free(connection);
}

void connection_begins(struct connections *all, struct connection *connection, const char *address,
                       int port)
{
    (void)pthread_mutex_lock(&all->lock);
    connection->is_silent = false;
    if (connection->port == 0) {
        (void)snprintf(connection->address, sizeof connection->address, "%s", address);
        connection->port = port;
    }
    (void)pthread_mutex_unlock(&all->lock);
}

void connection_ends(struct connections *all, struct connection *connection)
{
    int64_t now_us = clock_mono_us();

    (void)pthread_mutex_lock(&all->lock);
    connection->is_silent = true;
    connection->silent_us = now_us;
    (void)pthread_mutex_unlock(&all->lock);
}

bool connection_may_stay(struct connections *all, const struct connection *connection)
{
    int64_t age_us = clock_mono_us() - connection->taken_us;
    bool may_stay;

    (void)pthread_mutex_lock(&all->lock);
    may_stay = !connection->is_cut && (!is_crowded(all) || age_us < SLICE_MS * US_PER_MS);
    (void)pthread_mutex_unlock(&all->lock);
    return may_stay;
}
