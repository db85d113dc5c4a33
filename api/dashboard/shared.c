/* SPDX-License-Identifier: MIT
 *
 * Answers made once for everybody; see shared.h. The lock is held for looking and copying only,
 * never while an answer is made. Of those who want the same one, the first makes it and the others
 * wait.
 */
#include "api/dashboard/shared.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

#include "api/dashboard/dashboard.h"
#include "common/clock.h"
#include "common/mem.h"

enum { WAIT_MAX_MS = 10000 }; /* for another request; then it is made once more */

struct entry {
    char *key; /* owned; NULL: free */
    char *body;
    size_t len;
    int64_t begun_us; /* monotonic: how old it is, counted from before it was read */
    int64_t keep_us;
    int64_t cost_us; /* what making it took the last time; 0: it was not made yet */
    bool is_making;
};

struct shared {
    pthread_mutex_t lock;
    pthread_cond_t made;
    struct entry entries[SHARED_COUNT];
    uint64_t orders; /* counts what may have changed something */
};

struct shared *shared_new(void)
{
    struct shared *shared = mem_alloc(sizeof *shared);

    (void)pthread_mutex_init(&shared->lock, NULL);
    clock_cond_init(&shared->made);
    return shared;
}

static void drop_body(struct entry *entry)
{
    mem_free(entry->body);
    entry->body = NULL;
    entry->len = 0;
}

static void drop(struct entry *entry)
{
    drop_body(entry);
    mem_free(entry->key);
    *entry = (struct entry){0};
}

void shared_free(struct shared *shared)
{
    if (!shared)
        return;
    for (size_t i = 0; i < SHARED_COUNT; i++)
        drop(&shared->entries[i]);
    (void)pthread_cond_destroy(&shared->made);
    (void)pthread_mutex_destroy(&shared->lock);
    mem_free(shared);
}

void shared_forget(struct shared *shared)
{
    (void)pthread_mutex_lock(&shared->lock);
    shared->orders++;
    for (size_t i = 0; i < SHARED_COUNT; i++)
        drop_body(&shared->entries[i]);
    (void)pthread_mutex_unlock(&shared->lock);
}

int64_t shared_keep_us(int64_t cost_us, size_t count)
{
    const int64_t most_us = SHARED_KEEP_MAX_MS * US_PER_MS;
    int64_t keep_us = cost_us < most_us ? cost_us * SHARED_COST_FACTOR * (int64_t)count : most_us;

    if (keep_us < SHARED_KEEP_MS * US_PER_MS)
        return SHARED_KEEP_MS * US_PER_MS;
    return keep_us < most_us ? keep_us : most_us;
}

int64_t shared_max_age_us(const char *header)
{
    static const char name[] = "max-age=";
    int64_t seconds = 0;

    for (const char *p = header; p && *p; p += strcspn(p, ",") + (p[strcspn(p, ",")] == ',')) {
        p += strspn(p, " \t");
        if (strncasecmp(p, name, sizeof name - 1) != 0)
            continue;
        for (const char *digit = p + sizeof name - 1; isdigit((unsigned char)*digit); digit++)
            seconds = seconds < SHARED_KEEP_MAX_MS ? seconds * 10 + (*digit - '0') : seconds;
    }
    return seconds * 1000 < SHARED_KEEP_MAX_MS ? seconds * US_PER_S
                                               : SHARED_KEEP_MAX_MS * US_PER_MS;
}

/* ---- under the lock ---- */

static struct entry *find(struct shared *shared, const char *key)
{
    for (size_t i = 0; i < SHARED_COUNT; i++)
        if (shared->entries[i].key && strcmp(shared->entries[i].key, key) == 0)
            return &shared->entries[i];
    return NULL;
}

/* The entry of this key, else a free one, else the oldest; drops what nobody wants any more. NULL:
 * all of them are being made. */
static struct entry *take_entry(struct shared *shared, const char *key, int64_t now_us)
{
    struct entry *entry = find(shared, key);
    struct entry *oldest = NULL;

    for (size_t i = 0; i < SHARED_COUNT; i++) {
        struct entry *one = &shared->entries[i];

        if (one->is_making || one == entry)
            continue;
        if (one->key && now_us - one->begun_us > 2 * SHARED_KEEP_MAX_MS * US_PER_MS)
            drop(one);
        if (!oldest || one->begun_us < oldest->begun_us)
            oldest = one;
    }
    if (entry || !oldest)
        return entry;
    drop(oldest);
    oldest->key = mem_dup(key);
    return oldest;
}

static size_t count_used(const struct shared *shared)
{
    size_t count = 0;

    for (size_t i = 0; i < SHARED_COUNT; i++)
        count += shared->entries[i].key != NULL;
    return count;
}

/* What making it costs. The clock also counts what others did meanwhile, so of two times the
 * shorter tells more. */
static int64_t note_cost(struct entry *entry, int64_t took_us)
{
    int64_t before_us = entry->cost_us;

    entry->cost_us = took_us > 0 ? took_us : 1;
    return before_us && before_us < took_us ? before_us : took_us;
}

static bool is_fresh(const struct entry *entry, int64_t max_age_us, int64_t now_us)
{
    int64_t age_us = now_us - entry->begun_us;

    return entry->body && age_us < entry->keep_us && age_us < max_age_us;
}

/* Waits for who is making it. False when that has taken too long. */
static bool wait_for_maker(struct shared *shared, int64_t until_us)
{
    const struct timespec until = {.tv_sec = until_us / US_PER_S,
                                   .tv_nsec = until_us % US_PER_S * 1000};

    return pthread_cond_timedwait(&shared->made, &shared->lock, &until) == 0;
}

/* True: the reply is filled. False: the caller has to make it; where `*ret_mine` is not NULL, for
 * all who wait for it, too.
 */
static bool look(struct shared *shared, const char *key, int64_t max_age_us, struct reply *reply,
                 struct entry **ret_mine)
{
    int64_t until_us = clock_mono_us() + WAIT_MAX_MS * US_PER_MS;
    bool waits = true;
    bool found = false;

    (void)pthread_mutex_lock(&shared->lock);
    while (waits) {
        struct entry *entry = find(shared, key);

        found = entry && is_fresh(entry, max_age_us, clock_mono_us());
        if (found)
            reply_bytes(reply, 200, "application/json", entry->body, entry->len);
        waits = !found && entry && entry->is_making && wait_for_maker(shared, until_us);
    }
    if (!found) {
        struct entry *entry = take_entry(shared, key, clock_mono_us());

        *ret_mine = entry && !entry->is_making ? entry : NULL;
        if (*ret_mine)
            (*ret_mine)->is_making = true;
    }
    (void)pthread_mutex_unlock(&shared->lock);
    return found;
}

static void keep(struct shared *shared, struct entry *mine, int64_t begun_us, uint64_t orders,
                 const struct reply *reply, enum err_code rc)
{
    bool is_good =
        !rc && reply->status == 200 && !reply->body.overflow && reply->body.len <= SHARED_BODY_MAX;

    (void)pthread_mutex_lock(&shared->lock);
    drop_body(mine);
    mine->is_making = false;
    mine->begun_us = begun_us;
    mine->keep_us = shared_keep_us(note_cost(mine, clock_mono_us() - begun_us), count_used(shared));
    if (is_good && orders == shared->orders) { /* an order may have come after it was read */
        mine->body = mem_dup_n(reply->body.data, reply->body.len);
        mine->len = reply->body.len;
    }
    (void)pthread_cond_broadcast(&shared->made);
    (void)pthread_mutex_unlock(&shared->lock);
}

static uint64_t orders_of(struct shared *shared)
{
    uint64_t orders;

    (void)pthread_mutex_lock(&shared->lock);
    orders = shared->orders;
    (void)pthread_mutex_unlock(&shared->lock);
    return orders;
}

enum err_code shared_answer(struct request *req, const char *key, http_handler *make,
                            struct reply *reply, struct err *e)
{
    struct shared *shared = thread_of(req)->dashboard->shared;
    int64_t max_age_us = shared_max_age_us(request_header(req, "Cache-Control"));
    struct entry *mine = NULL;
    int64_t begun_us;
    uint64_t orders;
    enum err_code rc;

    if (max_age_us == 0 || strlen(key) > SHARED_KEY_MAX)
        return make(req, reply, e);
    if (look(shared, key, max_age_us, reply, &mine))
        return ERR_OK;
    orders = orders_of(shared);
    begun_us = clock_mono_us();
    rc = make(req, reply, e);
    if (mine)
        keep(shared, mine, begun_us, orders, reply, rc);
    return rc;
}

enum err_code shared_get(struct request *req, http_handler *make, struct reply *reply,
                         struct err *e)
{
    char key[SHARED_KEY_MAX + 1];

    if (!text_format(key, sizeof key, "%s?%s", req->path, req->query))
        return make(req, reply, e);
    return shared_answer(req, key, make, reply, e);
}
