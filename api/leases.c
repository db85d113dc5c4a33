/* SPDX-License-Identifier: MIT
 *
 * Leases of look-ups; see leases.h.
 *
 * Promise 1: who has the answer to a write by any till-api sees it in every read that begins then,
 * at any till-api. Promise 2: what others write (a worker, SQL) is seen by every read that begins
 * a lease's life later, TILL_API_LOOKUP_MS.
 *
 * A lease lives from before its statement was sent (`at_us`) for `life_us`, and a read uses it when
 * it was alive at the read's beginning, so 2 holds. For 1:
 *
 * There are two kinds. The lease tells who asks, and the version of the whole catalogue. A stamp is
 * for one answer alone, and tells that the rows it shows were still in the versions that it shows
 * them in (common/catalogue.h), seen in one snapshot; so it outlives the lease's version, which
 * each order changes. Both are of one look-up, begun with the same count of writes over the same
 * session, and all that is said of leases below is said of stamps. A stamp is used only with a
 * lease, which tells who asks.
 *
 * In one process. A write is counted in `writes` after its commit and before its answer. A lease
 * is of the count that was read before its statement was sent, and used while that is the count.
 * So after the answer only leases are used whose statement began after the commit.
 *
 * Between processes. A lease is made only by a process that is alone; a write is answered at once
 * only by a process that the others see. The session of a process's look-ups holds a shared lock
 * (common/api_session.h) and raises a number when it has got it; each look-up tells whether another
 * session holds the lock, and the number. Call the reader P and the writer Q.
 *
 * - Q is registered: its session has got the lock at R. What P looks up later makes no lease; those
 *   of before R are over at R + LEASE_MS_MAX. Q answers no write before R + WAIT_US, which is more.
 *   Two that start at once have both registered before either answers a write.
 * - Q has lost its lock and does not know: somebody ended its session, the network is cut, the
 *   server was restarted. P makes leases only when it has been alone for ALONE_US: from a look-up
 *   that found it alone on, all have, with the same number, so that nobody was registered in
 *   between either. That first look-up came after the end of Q's session, and so after the last
 *   look-up that Q's session answered, which was sent at C. So until C + ALONE_US nobody has a
 *   lease, and Q's writes may be answered at once until C + SURE_US, which is less; what is
 *   committed before a lease's statement begins is in it, however late it is answered.
 * - Q is not registered, or looked up nobody over that session for SURE_US: its write is answered
 *   WAIT_US after its end, when all leases from before its commit are over.
 * - A pooler may give the sessions of two processes one server process, whose lock does not keep
 *   them apart. So what comes through one is not registered: it never makes leases, and waits. A
 *   standby cannot be registered either.
 *
 * What is assumed: no process's monotonic clock runs by half slower than another's, nor stands
 * still while the process runs. And each till-api does this: one from before it does not.
 *
 * Users. A lease tells the version of all users (sql/0029), seen in one snapshot with those who
 * were looked up; a known user (known_users.h) counts under the version he was seen in. After a
 * lost session everybody is looked up anew: it may be another database, with the same version.
 *
 * One alone. Leases are used while at least CROWD request threads have had a read of the catalogue
 * within a WINDOW or the one before, and as many connections are open, so that who tries something
 * out alone has each look-up made.
 *
 * Threads: `session` and `alone` are whoever's who leads the look-ups; all else is atomic. The
 * lease is read while it may be written, and a reader who sees that goes the long way.
 */
#include "api/leases.h"

#include <stdatomic.h>

#include "api/known_users.h"
#include "common/clock.h"

enum {
    WAIT_US = 3 * LEASE_MS_MAX / 2 * 1000,
    ALONE_US = 1000 * 1000,
    SURE_US = 750 * 1000,
    CROWD = 8,
    WINDOW_US = 20 * 1000,
    WINDOWS = 4, /* counters, used in turn */
    COUNT_BITS = 16,
};

static int64_t life_us;
static atomic_uint_fast64_t writes;

static struct {
    bool is_registered;
    int64_t number;
} session;

static struct {
    int64_t sessions; /* as the last look-up told; 0: not alone */
    int64_t since_us;
} alone;

/* What writes need to know of the session. */
static atomic_int_fast64_t registered_us; /* 0: it is not */
static atomic_int_fast64_t sure_us;       /* when the last look-up was sent that it answered */

static struct {
    atomic_uint_fast64_t turn; /* odd while it is written */
    atomic_int_fast64_t at_us; /* 0: there is none */
    atomic_uint_fast64_t writes;
    atomic_int_fast64_t catalogue_version;
    atomic_int_fast64_t users_version;
    atomic_int_fast64_t session;
    atomic_bool is_renewed; /* somebody looks up already */
} lease;

/* The number of a window and how many threads have come in it, of the last WINDOWS. */
static atomic_uint_fast64_t windows[WINDOWS];

void leases_init(int64_t new_life_us) { life_us = new_life_us; }

/* ---- the look-ups' side ---- */

void leases_session_begins(void)
{
    session.is_registered = true;
    session.number++;
    alone.sessions = 0;
    atomic_store(&registered_us, clock_mono_us());
}

void leases_session_ends(void)
{
    session.is_registered = false;
    atomic_store(&registered_us, 0);
}

struct lease_start leases_look(void)
{
    return (struct lease_start){.at_us = clock_mono_us(), .writes = atomic_load(&writes)};
}

/* Whether this process has been alone for long enough before a look-up that now found it so. */
static bool note_alone(int64_t sessions, int64_t sent_us)
{
    if (sessions == 0 || sessions != alone.sessions) {
        alone.sessions = sessions;
        alone.since_us = clock_mono_us();
        return false;
    }
    return sent_us - alone.since_us >= ALONE_US;
}

static void make_lease(const struct lease_start *start, const struct users_asking *found)
{
    (void)atomic_fetch_add(&lease.turn, 1);
    atomic_store(&lease.at_us, start->at_us);
    atomic_store(&lease.writes, start->writes);
    atomic_store(&lease.catalogue_version, found->catalogue_version);
    atomic_store(&lease.users_version, found->users_version);
    atomic_store(&lease.session, session.number);
    atomic_store(&lease.is_renewed, false);
    (void)atomic_fetch_add(&lease.turn, 1);
}

struct lease_stamp leases_looked(const struct lease_start *start, const struct users_asking *found)
{
    struct users_seen seen = {found->users_version, session.number};

    if (!session.is_registered)
        return (struct lease_stamp){0};
    atomic_store(&sure_us, start->at_us);
    if (life_us == 0 || !note_alone(found->api_sessions, start->at_us) || seen.version == 0)
        return (struct lease_stamp){0};
    for (size_t i = 0; i < found->count; i++)
        if (found->users[i].is_active)
            known_users_keep(&found->users[i], &seen, start->at_us);
    make_lease(start, found);
    return (struct lease_stamp){start->at_us, start->writes, session.number};
}

/* ---- the requests' side ---- */

static bool is_crowd(int64_t window)
{
    uint64_t counted = atomic_load(&windows[window % WINDOWS]);

    return (int64_t)(counted >> COUNT_BITS) == window &&
           (counted & ((1u << COUNT_BITS) - 1)) >= CROWD;
}

/* Counts the thread in the window of now, once. */
static void join_crowd(struct lease_user *mine, int64_t window)
{
    atomic_uint_fast64_t *counter = &windows[window % WINDOWS];
    uint64_t counted = atomic_load(counter);
    uint64_t more;

    if (mine->window == window)
        return;
    mine->window = window;
    do {
        if ((int64_t)(counted >> COUNT_BITS) > window)
            return; /* it was overtaken */
        more = (int64_t)(counted >> COUNT_BITS) == window ? counted + 1
                                                          : ((uint64_t)window << COUNT_BITS) + 1;
    } while (!atomic_compare_exchange_weak(counter, &counted, more));
}

struct view {
    int64_t at_us;
    uint64_t writes;
    int64_t catalogue_version;
    struct users_seen seen;
};

static bool read_lease(struct view *ret)
{
    uint64_t turn = atomic_load(&lease.turn);

    *ret = (struct view){
        .at_us = atomic_load(&lease.at_us),
        .writes = atomic_load(&lease.writes),
        .catalogue_version = atomic_load(&lease.catalogue_version),
        .seen = {atomic_load(&lease.users_version), atomic_load(&lease.session)},
    };
    return turn % 2 == 0 && atomic_load(&lease.turn) == turn;
}

/* Of those who find it half over one looks up, so that the others need not wait for its end. */
static bool is_mine_to_renew(int64_t age_us)
{
    return age_us > life_us / 2 && !atomic_load(&lease.is_renewed) &&
           !atomic_exchange(&lease.is_renewed, true);
}

bool leases_find(struct lease_user *mine, int64_t user_id, int connections, int64_t begun_us,
                 struct user_asking *ret_user)
{
    int64_t window = begun_us / WINDOW_US;
    struct view view;

    if (life_us == 0)
        return false;
    join_crowd(mine, window);
    if (connections < CROWD || (!is_crowd(window) && !is_crowd(window - 1)))
        return false;
    if (!read_lease(&view) || view.writes != atomic_load(&writes) ||
        begun_us - view.at_us >= life_us || is_mine_to_renew(begun_us - view.at_us) ||
        !known_users_find(user_id, &view.seen, begun_us, ret_user))
        return false;
    ret_user->catalogue_version = view.catalogue_version;
    return true;
}

bool leases_cover(const struct lease_stamp *stamp, int64_t begun_us)
{
    return stamp->at_us > 0 && begun_us - stamp->at_us < life_us &&
           stamp->writes == atomic_load(&writes) && stamp->session == atomic_load(&lease.session);
}

void leases_note_write(void) { (void)atomic_fetch_add(&writes, 1); }

int64_t leases_wait_us(void)
{
    int64_t now_us = clock_mono_us();
    /* In this order: what is sure of one session says nothing of the one before. */
    int64_t was_sure_us = atomic_load(&sure_us);
    int64_t since_us = atomic_load(&registered_us);
    int64_t left_us;

    if (life_us == 0)
        return 0;
    if (since_us == 0 || now_us - was_sure_us > SURE_US)
        return WAIT_US;
    left_us = since_us + WAIT_US - now_us;
    return left_us > 0 ? left_us : 0;
}
