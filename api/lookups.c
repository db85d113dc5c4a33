/* SPDX-License-Identifier: MIT
 *
 * Shared look-ups; see lookups.h. One thread at a time leads: it takes all who wait, itself among
 * them, asks for them, and hands the lead to the first of those who have come meanwhile. Only who
 * leads touches the connection.
 *
 * Their connection is the session that other till-api processes know this one by (leases.h), so it
 * is made, and asked for nobody, as soon as there are threads.
 *
 * Lock: `lock` guards `waiting`, `is_led` and `apart_until_us`. A lookup that a leader has taken
 * out of `waiting` is the leader's until it posts its `turn`.
 */
#include "api/lookups.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "api/leases.h"
#include "api/metrics.h"
#include "common/api_session.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

enum {
    DEADLINE_S = 2,  /* then everybody who waits asks for themselves */
    APART_MS = 5000, /* and so does who comes in the time after a failure */
    REGISTER_MS = 50,
    NOBODY = 0,
};

STAILQ_HEAD(lookups, lookup);

struct lookup {
    STAILQ_ENTRY(lookup) entry;
    sem_t turn; /* posted once: it has been answered, or leads */
    bool leads;
    int64_t id;
    struct user_asking user;
    enum err_code rc; /* of its own part; ERR_UNAVAILABLE: of nobody's */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lookups waiting = STAILQ_HEAD_INITIALIZER(waiting);
static bool is_led;
static int64_t apart_until_us; /* monotonic */
/* The leader's: */
static struct db *shared;
static bool is_registered;
static int64_t register_us; /* when to try again */
static pthread_t first;
static bool has_first;

struct lookup *lookup_new(void)
{
    struct lookup *mine = mem_alloc(sizeof *mine);

    (void)sem_init(&mine->turn, 0, 0);
    return mine;
}

void lookup_free(struct lookup *mine)
{
    if (!mine)
        return;
    (void)sem_destroy(&mine->turn);
    mem_free(mine);
}

/* Takes all who wait, or as many as one statement asks for. */
static size_t take_group(struct lookups *group, int64_t ids[USERS_ASKING_MAX])
{
    struct lookup *next;
    size_t count = 0;

    (void)pthread_mutex_lock(&lock);
    while (count < USERS_ASKING_MAX && (next = STAILQ_FIRST(&waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&waiting, entry);
        STAILQ_INSERT_TAIL(group, next, entry);
        ids[count++] = next->id;
    }
    (void)pthread_mutex_unlock(&lock);
    return count;
}

/* To the first of those who have come meanwhile; the connection is free. */
static void hand_over(bool failed)
{
    struct lookup *next;

    (void)pthread_mutex_lock(&lock);
    if (failed)
        apart_until_us = clock_mono_us() + APART_MS * US_PER_MS;
    next = STAILQ_FIRST(&waiting);
    is_led = next != NULL;
    if (next)
        next->leads = true;
    (void)pthread_mutex_unlock(&lock);
    if (next)
        (void)sem_post(&next->turn);
}

static void answer(struct lookup *one, enum err_code rc, const struct users_asking *found)
{
    one->rc = rc ? ERR_UNAVAILABLE : ERR_NOT_FOUND;
    for (size_t i = 0; !rc && i < found->count; i++)
        if (found->users[i].id == one->id) {
            one->user = found->users[i];
            one->rc = ERR_OK;
            return;
        }
}

/* A look-up does without it. */
static enum err_code register_session(struct err *e)
{
    enum err_code rc;

    if (is_registered || clock_mono_us() < register_us)
        return ERR_OK;
    rc = api_session_register(shared, &is_registered, e);
    if (is_registered)
        leases_session_begins();
    else
        register_us = clock_mono_us() + REGISTER_MS * US_PER_MS;
    return rc;
}

static void leave_session(void)
{
    db_disconnect(shared);
    if (is_registered)
        leases_session_ends();
    is_registered = false;
    register_us = 0;
}

/* After any error the session ends: nobody knows which locks it holds. */
static enum err_code ask_once(const int64_t *ids, size_t count, struct users_asking *ret_found,
                              struct err *e)
{
    struct lease_start start;
    enum err_code rc;

    if (!db_is_connected(shared))
        leave_session();
    rc = register_session(e);
    start = leases_look();
    if (!rc)
        rc = users_find_many_asking(shared, ids, count, ret_found, e);
    if (rc)
        leave_session();
    else
        leases_looked(&start, ret_found);
    return rc;
}

static enum err_code ask(const int64_t *ids, size_t count, struct users_asking *ret_found)
{
    bool was_connected = db_is_connected(shared);
    struct err e = {0};
    enum err_code rc = ask_once(ids, count, ret_found, &e);

    if (rc == ERR_UNAVAILABLE && was_connected) { /* it may have died while idle */
        err_clear(&e);
        rc = ask_once(ids, count, ret_found, &e);
    }
    if (rc)
        log_debug("lookup_failed", L_ERR(&e));
    return rc;
}

static void lead(struct lookup *mine)
{
    struct lookups group = STAILQ_HEAD_INITIALIZER(group);
    struct users_asking found;
    int64_t ids[USERS_ASKING_MAX];
    size_t count = take_group(&group, ids);
    enum err_code rc = ask(ids, count, &found);
    struct lookup *one;

    metrics_add(METRIC_LOOKUPS);
    hand_over(rc != ERR_OK);
    while ((one = STAILQ_FIRST(&group)) != NULL) {
        STAILQ_REMOVE_HEAD(&group, entry);
        answer(one, rc, &found);
        if (one != mine)
            (void)sem_post(&one->turn);
    }
}

/* False: the look-ups go apart for a while. *ret_leads: there is nobody to wait for. */
static bool join(struct lookup *mine, bool *ret_leads)
{
    bool apart;

    (void)pthread_mutex_lock(&lock);
    apart = apart_until_us > 0 && clock_mono_us() < apart_until_us;
    if (!apart) {
        STAILQ_INSERT_TAIL(&waiting, mine, entry);
        mine->leads = false;
        *ret_leads = !is_led;
        is_led = true;
    }
    (void)pthread_mutex_unlock(&lock);
    return !apart;
}

enum err_code lookup_user(struct lookup *mine, int64_t id, struct user_asking *ret_user,
                          struct err *e)
{
    bool leads = false;

    mine->id = id;
    if (!join(mine, &leads))
        return err_set(e, ERR_UNAVAILABLE, "look-ups go apart for a while");
    while (!leads && sem_wait(&mine->turn) != 0 && errno == EINTR)
        continue;
    if (leads || mine->leads)
        lead(mine);
    if (mine->rc)
        return err_set(e, mine->rc,
                       mine->rc == ERR_NOT_FOUND ? "there is no such user" : "the look-up failed");
    *ret_user = mine->user;
    return ERR_OK;
}

/* ---- start and end ---- */

static void *look_first(void *unused)
{
    AUTO(lookup_free) struct lookup *mine = lookup_new();
    struct user_asking nobody;
    struct err e = {0};

    (void)unused;
    if (lookup_user(mine, NOBODY, &nobody, &e))
        log_debug("looked_first", L_ERR(&e));
    return NULL;
}

void lookups_init(const char *database_url)
{
    shared = db_open(database_url, "till-api");
    db_set_deadline(shared, DEADLINE_S);
    has_first = pthread_create(&first, NULL, look_first, NULL) == 0;
}

void lookups_end(void)
{
    if (has_first)
        (void)pthread_join(first, NULL);
    has_first = false;
    leave_session();
    db_close(shared);
    shared = NULL;
}
