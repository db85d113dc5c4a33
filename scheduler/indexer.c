/* SPDX-License-Identifier: MIT
 *
 * The thread that makes the index of jobs; see indexer.h. It is polite: the lowest priority, and
 * after each piece of work it rests as long as that took, so it never takes more than half a core.
 */
#include "scheduler/indexer.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/job_index.h"
#include "common/log.h"

enum { REST_MS = 1000, REST_MAX_MS = 60000, FOLLOW_MS = 5000, NICE = 19, DEADLINE_S = 60 };

/* True: it is to go on. */
static bool rest(struct indexer *indexer, int64_t us)
{
    struct timespec until;
    bool stopping;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += us % US_PER_S * 1000;
    until.tv_sec += us / US_PER_S + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_mutex_lock(&indexer->lock);
    while (!indexer->stopping &&
           pthread_cond_timedwait(&indexer->woken, &indexer->lock, &until) == 0)
        ;
    stopping = indexer->stopping;
    (void)pthread_mutex_unlock(&indexer->lock);
    return !stopping;
}

/* One piece of work; gives the time to rest. A lost connection has lost the lock with it. */
static int64_t work(struct job_index *index, bool *leads, bool *healthy, int64_t *idle_us)
{
    int64_t began_us = clock_mono_us();
    bool has_more = false;
    struct err e = {0};
    enum err_code rc = ERR_OK;

    if (!*leads || !db_is_connected(index->db)) {
        *leads = false;
        rc = job_index_lead(index, leads, &e);
    }
    if (!rc && *leads)
        rc = job_index_step(index, &has_more, &e);
    if (rc && *healthy)
        log_warn("index_interrupted", L_ERR(&e));
    else if (!rc && !*healthy)
        log_info("index_resumed");
    *healthy = !rc;
    if (!*leads)
        return FOLLOW_MS * US_PER_MS;
    /* Twice as long each time that there is nothing to do, so that an idle system has rest. */
    if (*idle_us > REST_MAX_MS * US_PER_MS / 2)
        *idle_us = REST_MAX_MS * US_PER_MS / 2;
    *idle_us = !rc && has_more ? 0 : *idle_us ? *idle_us * 2 : REST_MS * US_PER_MS;
    return *idle_us ? *idle_us : clock_mono_us() - began_us;
}

static void *indexer_main(void *data)
{
    struct indexer *indexer = data;
    struct job_index index = {.db = db_open(indexer->conf->database_url, "till-scheduler index")};
    bool leads = false;
    bool healthy = true;
    int64_t idle_us = 0;

    db_set_deadline(index.db, DEADLINE_S);
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
    while (rest(indexer, work(&index, &leads, &healthy, &idle_us)))
        ;
    db_close(index.db);
    return NULL;
}

void indexer_start(struct indexer *indexer, const struct conf *conf)
{
    *indexer = (struct indexer){.conf = conf};
    if (!conf->search_index)
        return;
    (void)pthread_mutex_init(&indexer->lock, NULL);
    clock_cond_init(&indexer->woken);
    indexer->runs = pthread_create(&indexer->thread, NULL, indexer_main, indexer) == 0;
    if (!indexer->runs)
        log_error("index_failed", L_STR("error", "no thread for it could be made"));
}

void indexer_stop(struct indexer *indexer)
{
    if (!indexer->runs)
        return;
    (void)pthread_mutex_lock(&indexer->lock);
    indexer->stopping = true;
    (void)pthread_cond_signal(&indexer->woken);
    (void)pthread_mutex_unlock(&indexer->lock);
    (void)pthread_join(indexer->thread, NULL);
}
