/* SPDX-License-Identifier: MIT
 *
 * Flights; see flights.h. There are no more of them than request threads, so a list will do.
 *
 * Lock: `lock` guards `flying`, and of each flight `users`, `has_landed` and `is_shared`. The body
 * is written by the leader alone, before it has landed, and only read after that.
 */
#include "api/flights.h"

#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

#include "api/http.h"
#include "common/clock.h"
#include "common/mem.h"

struct flight {
    LIST_ENTRY(flight) entry; /* in `flying`, until it has landed */
    pthread_cond_t landing;
    int users; /* the leader and all who wait */
    bool has_landed;
    bool is_shared;
    struct buf body;
    int64_t version;
    size_t name_len;
    char name[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(flights, flight) flying = LIST_HEAD_INITIALIZER(flying);

static struct flight *find(const struct buf *name, int64_t version)
{
    struct flight *flight;

    LIST_FOREACH(flight, &flying, entry)
    if (flight->version == version && flight->name_len == name->len &&
        memcmp(flight->name, name->data, name->len) == 0)
        break;
    return flight;
}

static struct flight *begin(const struct buf *name, int64_t version)
{
    struct flight *flight = mem_alloc(sizeof *flight + name->len);

    clock_cond_init(&flight->landing);
    buf_init(&flight->body, HTTP_REPLY_MAX);
    flight->version = version;
    flight->name_len = name->len;
    memcpy(flight->name, name->data, name->len);
    LIST_INSERT_HEAD(&flying, flight, entry);
    return flight;
}

struct flight *flight_join(const struct buf *name, int64_t version, bool *ret_leads)
{
    struct flight *flight;

    (void)pthread_mutex_lock(&lock);
    flight = find(name, version);
    *ret_leads = !flight;
    if (!flight)
        flight = begin(name, version);
    flight->users++;
    (void)pthread_mutex_unlock(&lock);
    return flight;
}

void flight_land(struct flight *flight, const struct buf *body)
{
    if (!flight || flight->has_landed) /* which only the leader writes, who asks */
        return;
    if (body)
        buf_add(&flight->body, body->data, body->len);
    (void)pthread_mutex_lock(&lock);
    flight->has_landed = true;
    flight->is_shared = body && !flight->body.overflow;
    LIST_REMOVE(flight, entry);
    (void)pthread_cond_broadcast(&flight->landing);
    (void)pthread_mutex_unlock(&lock);
}

enum flight_end flight_wait(struct flight *flight, int64_t deadline_us, struct buf *body)
{
    struct timespec until = clock_timespec(deadline_us);
    enum flight_end end;

    (void)pthread_mutex_lock(&lock);
    while (!flight->has_landed && clock_mono_us() < deadline_us)
        (void)pthread_cond_timedwait(&flight->landing, &lock, &until);
    end = flight->is_shared ? FLIGHT_SHARED : flight->has_landed ? FLIGHT_APART : FLIGHT_LATE;
    (void)pthread_mutex_unlock(&lock);
    if (end == FLIGHT_SHARED)
        buf_add(body, flight->body.data, flight->body.len);
    return end;
}

void flight_leave(struct flight *flight)
{
    bool is_last;

    if (!flight)
        return;
    (void)pthread_mutex_lock(&lock);
    is_last = --flight->users == 0;
    (void)pthread_mutex_unlock(&lock);
    if (!is_last)
        return;
    (void)pthread_cond_destroy(&flight->landing);
    buf_release(&flight->body);
    mem_free(flight);
}
