/* SPDX-License-Identifier: MIT
 *
 * Shared look-ups; see lookups.h.
 *
 * Their connection is the session that other till-api processes know this one by (leases.h), so it
 * is made, and asked for nobody, as soon as there are threads.
 */
#include "api/lookups.h"

#include <pthread.h>
#include <stdbool.h>

#include "api/groups.h"
#include "api/metrics.h"
#include "common/api_session.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

enum {
    DEADLINE_S = 2, /* then everybody who waits asks for themselves */
    REGISTER_MS = 50,
    BUSY_MS = 100, /* in which the version of a busy catalogue changes so often: */
    BUSY_CHANGES = 3,
    NOBODY = 0,
};

struct lookup {
    struct group_member member;
    int64_t id;
    struct user_asking user;
    struct lookup_moment moment;
    enum err_code rc; /* of its own part; ERR_UNAVAILABLE: of nobody's */
};

static struct group group = GROUP_INITIALIZER(group);
/* The leader's: */
static struct db *shared;
static bool is_registered;
static int64_t register_us; /* when to try again */
static struct {
    int64_t version;
    int64_t same_us;
    int64_t window_version;
    int64_t window_us;
    bool is_busy;
} pace;
static pthread_t first;
static bool has_first;

struct lookup *lookup_new(void)
{
    struct lookup *mine = mem_alloc(sizeof *mine);

    group_member_init(&mine->member);
    return mine;
}

void lookup_free(struct lookup *mine)
{
    if (!mine)
        return;
    group_member_release(&mine->member);
    mem_free(mine);
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

/* How often the version of the catalogue changes. */
static void note_pace(int64_t version)
{
    int64_t now_us = clock_mono_us();

    if (version != pace.version) {
        pace.same_us = pace.version ? now_us : 0;
        pace.version = version;
    }
    if (now_us - pace.window_us < BUSY_MS * US_PER_MS)
        return;
    pace.is_busy = pace.window_us > 0 && now_us - pace.window_us < 2 * BUSY_MS * US_PER_MS &&
                   version - pace.window_version >= BUSY_CHANGES;
    pace.window_us = now_us;
    pace.window_version = version;
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
                              struct lookup_moment *ret_moment, struct err *e)
{
    struct lease_start start;
    enum err_code rc;

    if (!db_is_connected(shared))
        leave_session();
    rc = register_session(e);
    start = leases_look();
    if (!rc)
        rc = users_find_many_asking(shared, ids, count, ret_found, e);
    if (rc) {
        leave_session();
        return rc;
    }
    ret_moment->stamp = leases_looked(&start, ret_found);
    note_pace(ret_found->catalogue_version);
    ret_moment->same_us = pace.same_us;
    ret_moment->is_busy = pace.is_busy;
    return ERR_OK;
}

static enum err_code ask(const int64_t *ids, size_t count, struct users_asking *ret_found,
                         struct lookup_moment *ret_moment)
{
    bool was_connected = db_is_connected(shared);
    struct err e = {0};
    enum err_code rc = ask_once(ids, count, ret_found, ret_moment, &e);

    if (rc == ERR_UNAVAILABLE && was_connected) { /* it may have died while idle */
        err_clear(&e);
        rc = ask_once(ids, count, ret_found, ret_moment, &e);
    }
    if (rc)
        log_debug("lookup_failed", L_ERR(&e));
    return rc;
}

static void lead(struct lookup *mine)
{
    struct group_members taken;
    struct group_member *one;
    struct users_asking found;
    struct lookup_moment moment = {0};
    int64_t ids[USERS_ASKING_MAX];
    size_t count = 0;
    enum err_code rc;

    (void)group_take(&group, &taken, USERS_ASKING_MAX);
    for (one = STAILQ_FIRST(&taken); one; one = STAILQ_NEXT(one, entry))
        ids[count++] = ((struct lookup *)one)->id;
    rc = ask(ids, count, &found, &moment);
    metrics_add(METRIC_LOOKUPS);
    group_hand_over(&group, rc != ERR_OK);
    for (one = STAILQ_FIRST(&taken); one; one = STAILQ_NEXT(one, entry)) {
        ((struct lookup *)one)->moment = moment;
        answer((struct lookup *)one, rc, &found);
    }
    group_release(&taken, &mine->member);
}

enum err_code lookup_user(struct lookup *mine, int64_t id, struct user_asking *ret_user,
                          struct lookup_moment *ret_moment, struct err *e)
{
    enum group_role role;

    mine->id = id;
    role = group_join(&group, &mine->member);
    if (role == GROUP_APART)
        return err_set(e, ERR_UNAVAILABLE, "look-ups go apart for a while");
    if (role == GROUP_LEADS)
        lead(mine);
    if (mine->rc)
        return err_set(e, mine->rc,
                       mine->rc == ERR_NOT_FOUND ? "there is no such user" : "the look-up failed");
    *ret_user = mine->user;
    *ret_moment = mine->moment;
    return ERR_OK;
}

/* ---- start and end ---- */

static void *look_first(void *unused)
{
    AUTO(lookup_free) struct lookup *mine = lookup_new();
    struct user_asking nobody;
    struct lookup_moment moment;
    struct err e = {0};

    (void)unused;
    if (lookup_user(mine, NOBODY, &nobody, &moment, &e))
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
