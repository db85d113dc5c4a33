/* SPDX-License-Identifier: MIT
 *
 * Which reads the replica makes; see replica.h. The primary tells each request, in the look-up of
 * its user that every request begins with, the position of its log and the count of the user's
 * writes; the replica tells what it has of both. How far it is behind in time follows from
 * positions that the primary had a while ago, so no two clocks are compared.
 *
 * A replica that fails is lost for the whole process at once, and no request tries it again: a
 * thread does, until it is back.
 */
#include "api/replica.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "api/api.h"
#include "api/metrics.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/standby.h"

enum {
    READ_DEADLINE_S = 3, /* a replica that hangs delays what has begun for so long, once */
    PROBE_MS = 500,
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t prober;
    const char *url; /* NULL: none is set */
    bool stopping;
    /* The primary was at this position at this time ... */
    int64_t mark_position;
    int64_t mark_us;
    /* ... and the replica has all that the primary had at this time; 0: nobody knows. */
    int64_t fresh_us;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};
static atomic_bool is_up;
static atomic_uint times_up; /* threads connect anew each time: their old backoff says nothing */

bool replica_is_up(void) { return atomic_load(&is_up); }

/* ---- lost and found ---- */

static void lose(const struct err *why)
{
    bool was_up = true;

    if (!atomic_compare_exchange_strong(&is_up, &was_up, false))
        return;
    log_warn("replica_lost", L_ERR(why));
    (void)pthread_mutex_lock(&shared.lock);
    shared.fresh_us = 0;
    (void)pthread_cond_signal(&shared.changed);
    (void)pthread_mutex_unlock(&shared.lock);
}

static enum err_code look(struct db *db, int64_t user_id, struct standby *ret, struct err *e)
{
    enum err_code rc = standby_look(db, user_id, ret, e);

    if (rc == ERR_UNAVAILABLE) { /* the connection may have died while it was idle */
        err_clear(e);
        rc = standby_look(db, user_id, ret, e);
    }
    if (!rc && !ret->is_following)
        rc = err_set(e, ERR_UNAVAILABLE, "the replica does not follow a primary");
    return rc;
}

/* One try; the lock is not held. */
static void probe(struct db *db)
{
    struct standby seen;
    struct err e = {0};

    if (look(db, 0, &seen, &e)) {
        log_debug("replica_probed", L_ERR(&e));
        return;
    }
    db_disconnect(db);
    (void)atomic_fetch_add(&times_up, 1);
    atomic_store(&is_up, true);
    log_info("replica_ready");
}

static void *run_prober(void *unused)
{
    AUTO(db_close) struct db *db = db_open(shared.url, "till-api-probe");
    struct timespec until;

    (void)unused;
    db_set_deadline(db, READ_DEADLINE_S);
    (void)pthread_mutex_lock(&shared.lock);
    while (!shared.stopping) {
        if (atomic_load(&is_up)) {
            (void)pthread_cond_wait(&shared.changed, &shared.lock);
            continue;
        }
        (void)pthread_mutex_unlock(&shared.lock);
        probe(db);
        (void)pthread_mutex_lock(&shared.lock);
        if (shared.stopping || atomic_load(&is_up))
            continue;
        until = clock_timespec(clock_mono_us() + PROBE_MS * US_PER_MS);
        (void)pthread_cond_timedwait(&shared.changed, &shared.lock, &until);
    }
    (void)pthread_mutex_unlock(&shared.lock);
    return NULL;
}

void replica_start(const struct conf *conf)
{
    if (!*conf->database_replica_url)
        return;
    shared.url = conf->database_replica_url;
    clock_cond_init(&shared.changed);
    if (pthread_create(&shared.prober, NULL, run_prober, NULL) != 0)
        shared.url = NULL; /* everything is the primary's */
}

void replica_stop(void)
{
    if (!shared.url)
        return;
    (void)pthread_mutex_lock(&shared.lock);
    shared.stopping = true;
    (void)pthread_cond_signal(&shared.changed);
    (void)pthread_mutex_unlock(&shared.lock);
    (void)pthread_join(shared.prober, NULL);
}

/* ---- connections ---- */

void replica_open(struct backends *backends)
{
    if (!shared.url)
        return;
    backends->replica_times = atomic_load(&times_up);
    backends->replica = db_open(shared.url, "till-api-replica");
    db_set_deadline(backends->replica, READ_DEADLINE_S);
}

void replica_close(struct backends *backends)
{
    db_close(backends->replica);
    backends->replica = NULL;
}

/* ---- is it good enough? ---- */

/* Whether the replica has all that the primary had within the allowed lag. A mark is a position of
 * the primary and its time: once the replica has got there it is no older than that. */
static bool is_recent(const struct api *api, const struct standby *seen)
{
    bool recent;

    (void)pthread_mutex_lock(&shared.lock);
    if (seen->position >= api->primary_position && api->asked_us > shared.fresh_us)
        shared.fresh_us = api->asked_us;
    else if (seen->position >= shared.mark_position && shared.mark_us > shared.fresh_us)
        shared.fresh_us = shared.mark_us;
    /* A new mark, once the last is reached; or when another primary counts from lower. */
    if (seen->position >= shared.mark_position || api->primary_position < shared.mark_position) {
        shared.mark_position = api->primary_position;
        shared.mark_us = api->asked_us;
    }
    recent = shared.fresh_us > 0 &&
             clock_mono_us() - shared.fresh_us <= api->conf->replica_lag_ms * US_PER_MS;
    (void)pthread_mutex_unlock(&shared.lock);
    return recent;
}

/* Asks the replica what it has for this request: whether it has all that the user wrote and, unless
 * `position` is 0, all before that; else whether it is recent. */
static bool is_good(struct request *req, int64_t position)
{
    const struct api *api = api_of(req);
    struct backends *backends;
    struct standby seen;
    struct err e = {0};
    bool recent;

    if (!atomic_load(&is_up) || api->primary_position <= 0)
        return false;
    backends = api_backends(req);
    if (!backends->replica)
        return false;
    if (backends->replica_times != atomic_load(&times_up)) {
        replica_close(backends);
        replica_open(backends);
    }
    if (look(backends->replica, req->user.id, &seen, &e)) {
        metrics_add(METRIC_REPLICA_FAILED);
        lose(&e);
        return false;
    }
    recent = is_recent(api, &seen);
    if (seen.writes >= api->user_writes && (position ? seen.position >= position : recent))
        return true;
    metrics_add(METRIC_REPLICA_BEHIND);
    return false;
}

/* Runs the handler on the replica. False: the primary has to answer. */
static bool try_replica(struct request *req, struct reply *reply, http_handler *handler)
{
    struct api *api = api_of(req);
    struct err e = {0};
    enum err_code rc;

    api->reader = api->backends->replica;
    rc = handler(req, reply, &e);
    api->reader = NULL;
    if (!rc && reply->status < 400) {
        metrics_add(METRIC_REPLICA_READ);
        return true;
    }
    reply_clear(reply);
    /* What it does not find may be newer than it is; a conflict with replay is not worth a word. */
    if (rc && rc != ERR_NOT_FOUND)
        metrics_add(METRIC_REPLICA_FAILED);
    if (!db_is_connected(api->backends->replica))
        lose(&e);
    return false;
}

enum err_code replica_serve(struct request *req, struct reply *reply, http_handler *handler,
                            struct err *e)
{
    return replica_serve_at(req, reply, 0, handler, e);
}

enum err_code replica_serve_at(struct request *req, struct reply *reply, int64_t position,
                               http_handler *handler, struct err *e)
{
    if (is_good(req, position) && try_replica(req, reply, handler))
        return ERR_OK;
    return handler(req, reply, e);
}

/* ---- one's own writes ---- */

enum err_code replica_note_write(const struct request *req, struct err *e)
{
    const struct backends *backends = api_backends(req);

    return backends->replica ? standby_note_write(backends->db, req->user.id, e) : ERR_OK;
}

enum err_code replica_begin_write(const struct request *req, struct db_tx *tx, struct err *e)
{
    const struct backends *backends = api_backends(req);

    return backends->replica ? db_begin(backends->db, tx, e) : ERR_OK;
}

enum err_code replica_end_write(const struct request *req, struct db_tx *tx, struct err *e)
{
    enum err_code rc;

    if (!tx->db)
        return ERR_OK;
    rc = replica_note_write(req, e);
    return rc ? rc : db_commit(tx, e);
}
