/* SPDX-License-Identifier: MIT
 *
 * Known users; see known_users.h. Who finds the row full takes the place of whoever was seen first.
 * One lock a row, held for a comparison and a copy.
 */
#include "api/known_users.h"

#include <pthread.h>
#include <string.h>

#include "common/clock.h"

enum {
    ROWS = 512,
    ROW_SLOTS = 8,
    /* No trigger sees what replication writes, or who has switched them off. */
    KEEP_US = 10 * 1000 * 1000,
};

struct known {
    int64_t id; /* 0: free */
    struct users_seen seen;
    int64_t seen_us; /* monotonic */
    bool is_active;
    bool is_staff;
    char username[sizeof((struct user_asking *)0)->username];
};

static struct row {
    pthread_mutex_t lock;
    struct known slots[ROW_SLOTS];
} rows[ROWS];
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static void prepare(void)
{
    for (size_t i = 0; i < ROWS; i++)
        (void)pthread_mutex_init(&rows[i].lock, NULL);
}

static struct row *row_of(int64_t id)
{
    (void)pthread_once(&prepared, prepare);
    return &rows[(uint64_t)id % ROWS];
}

/* The slot of a user, else the one to give to somebody new. */
static struct known *slot_of(struct row *row, int64_t id)
{
    struct known *oldest = &row->slots[0];

    for (size_t i = 0; i < ROW_SLOTS; i++) {
        if (row->slots[i].id == id)
            return &row->slots[i];
        if (row->slots[i].seen_us < oldest->seen_us)
            oldest = &row->slots[i];
    }
    return oldest;
}

void known_users_keep(const struct user_asking *user, const struct users_seen *seen, int64_t now_us)
{
    struct row *row = row_of(user->id);
    struct known *slot;

    (void)pthread_mutex_lock(&row->lock);
    slot = slot_of(row, user->id);
    slot->id = user->id;
    slot->seen = *seen;
    slot->seen_us = now_us;
    slot->is_active = user->is_active;
    slot->is_staff = user->is_staff;
    memcpy(slot->username, user->username, sizeof slot->username);
    (void)pthread_mutex_unlock(&row->lock);
}

static bool is_good(const struct known *slot, int64_t id, const struct users_seen *seen,
                    int64_t now_us)
{
    return slot->id == id && slot->seen.version == seen->version &&
           slot->seen.session == seen->session && now_us - slot->seen_us < KEEP_US;
}

bool known_users_find(int64_t id, const struct users_seen *seen, int64_t now_us,
                      struct user_asking *ret_user)
{
    struct row *row = row_of(id);
    const struct known *slot;
    bool found;

    (void)pthread_mutex_lock(&row->lock);
    slot = slot_of(row, id);
    found = is_good(slot, id, seen, now_us);
    if (found) {
        *ret_user = (struct user_asking){
            .id = id, .is_active = slot->is_active, .is_staff = slot->is_staff};
        memcpy(ret_user->username, slot->username, sizeof ret_user->username);
    }
    (void)pthread_mutex_unlock(&row->lock);
    return found;
}
