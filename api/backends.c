/* SPDX-License-Identifier: MIT
 *
 * Lent connections; see backends.h.
 *
 * Lock: `lock` guards everything static here, and `got` of those who wait. What is lent is its
 * borrower's alone until it is given back, straight to who has waited longest when somebody waits.
 */
#include "api/backends.h"

#include <pthread.h>
#include <sys/queue.h>

#include "api/metrics.h"
#include "api/replica.h"
#include "common/clock.h"
#include "common/db.h"
#include "common/mem.h"
#include "common/redis.h"

enum { REDIS_TIMEOUT_MS = 500 }; /* a request must not wait for what may come later */

struct borrower {
    TAILQ_ENTRY(borrower) entry;
    pthread_cond_t turn;
    struct backends *got;
    struct backends none; /* refuses every use */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static TAILQ_HEAD(borrowers, borrower) waiting = TAILQ_HEAD_INITIALIZER(waiting);
static struct backends *all;
static struct backends *free_ones; /* the last used first */
static int count;
static int lent;
static int waiters;

void backends_init(const struct conf *conf)
{
    count = (int)conf->api_connections;
    all = mem_alloc((size_t)count * sizeof *all);
    for (int i = 0; i < count; i++) {
        all[i].db = db_open(conf->database_url, "till-api");
        replica_open(&all[i]);
        all[i].redis = redis_open(conf->redis_url, "till-api", REDIS_TIMEOUT_MS);
        all[i].next = free_ones;
        free_ones = &all[i];
    }
}

void backends_end(void)
{
    for (int i = 0; i < count; i++) {
        db_close(all[i].db);
        replica_close(&all[i]);
        redis_close(all[i].redis);
    }
    mem_free(all);
    all = NULL;
    free_ones = NULL;
    count = 0;
}

int backends_lent(void)
{
    int now;

    (void)pthread_mutex_lock(&lock);
    now = lent;
    (void)pthread_mutex_unlock(&lock);
    return now;
}

int backends_waiting(void)
{
    int now;

    (void)pthread_mutex_lock(&lock);
    now = waiters;
    (void)pthread_mutex_unlock(&lock);
    return now;
}

struct borrower *borrower_new(void)
{
    struct borrower *mine = mem_alloc(sizeof *mine);

    clock_cond_init(&mine->turn);
    mine->none.db = db_open(NULL, "");
    mine->none.redis = redis_open(NULL, "", 0);
    return mine;
}

void borrower_free(struct borrower *mine)
{
    if (!mine)
        return;
    db_close(mine->none.db);
    redis_close(mine->none.redis);
    (void)pthread_cond_destroy(&mine->turn);
    mem_free(mine);
}

static void leave(struct borrower *one)
{
    TAILQ_REMOVE(&waiting, one, entry);
    waiters--;
}

/* Until somebody gives back, or the time is over; the lock is held. */
static struct backends *await(struct borrower *mine, int64_t deadline_us)
{
    struct timespec until = clock_timespec(deadline_us);

    mine->got = NULL;
    TAILQ_INSERT_TAIL(&waiting, mine, entry);
    waiters++;
    while (!mine->got && clock_mono_us() < deadline_us)
        (void)pthread_cond_timedwait(&mine->turn, &lock, &until);
    if (!mine->got)
        leave(mine);
    return mine->got;
}

struct backends *backends_take(struct borrower *mine, int64_t deadline_us)
{
    struct backends *taken;

    (void)pthread_mutex_lock(&lock);
    taken = free_ones;
    if (taken) {
        free_ones = taken->next;
        lent++;
    } else {
        metrics_add(METRIC_BACKENDS_WAITED);
        taken = await(mine, deadline_us);
    }
    (void)pthread_mutex_unlock(&lock);
    if (!taken)
        return &mine->none;
    db_set_until(taken->db, deadline_us);
    if (taken->replica)
        db_set_until(taken->replica, deadline_us);
    return taken;
}

void backends_give_back(struct borrower *mine, struct backends *given)
{
    struct borrower *next;

    if (given == &mine->none)
        return;
    (void)pthread_mutex_lock(&lock);
    next = TAILQ_FIRST(&waiting);
    if (next) {
        leave(next);
        next->got = given;
        (void)pthread_cond_signal(&next->turn);
    } else {
        given->next = free_ones;
        free_ones = given;
        lent--;
    }
    (void)pthread_mutex_unlock(&lock);
}
