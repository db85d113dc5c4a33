/* SPDX-License-Identifier: MIT
 *
 * Acknowledging, renewing, heartbeats; see keeper.h. Owns one Redis connection. It sleeps until
 * something is settled or a duty is due.
 *
 * Leases: everything held is renewed at a third of the lease. Whoever finds that more than a lease
 * has passed since the last time (stopped, starved, cut off) renews only what is still pending
 * under its name: others may have the rest by now, and a late XCLAIM would steal it back.
 *
 * Who could not renew for a while must assume that others could not, either: Redis was away, and
 * they live. They get a third of a lease before anything is taken over from them.
 */
#include "worker/keeper.h"

#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/queue_lease.h"
#include "common/queue_limit.h"
#include "worker/events.h"
#include "worker/report.h"

enum {
    ACK_BATCH = 256,
    HELD_MAX = 2048,
    REDIS_TIMEOUT_MS = 3000,
    HEARTBEAT_MS = 2000,
    PAUSE_MS = 100,
    LAST_ROUNDS = 10,
    OVERRUN_LIMIT_MS = 2000, /* for giving back what others run */
    GATHER_MS = 10,          /* for what is done meanwhile, while there is more to do */
};

struct keeper {
    struct process *process;
    struct redis *redis;
    struct queue_script renew_script;
    int64_t lease_us;
    int64_t renewed_us;     /* monotonic: last successful renewal */
    int64_t beat_at_us;     /* monotonic: next heartbeat */
    int64_t ends_at_us;     /* monotonic: the end of this process; 0: not in sight */
    enum err_code renew_rc; /* of the last time */
    enum err_code beat_rc;
    bool told_jobs;
    bool healthy;
};

/* A round in which no lease and no heartbeat was due says nothing of whether Redis takes them. */
static void note_health(struct keeper *keeper, enum err_code rc, const struct err *e)
{
    bool healthy = !rc && !keeper->renew_rc && !keeper->beat_rc;

    if (rc && keeper->healthy)
        log_warn("keeper_interrupted", L_ERR(e));
    else if (healthy && !keeper->healthy)
        log_info("keeper_resumed");
    keeper->healthy = healthy;
}

/* ---- acknowledgements ---- */

/* Who waits for a place in a queue with a concurrency is told that some were given back. */
static enum err_code tell_places(struct keeper *keeper, const struct queue_entry *entries,
                                 size_t count, struct err *e)
{
    const struct process *process = keeper->process;
    const struct queue_stream *streams[QUEUE_LIST_MAX];
    size_t told = 0;

    for (size_t q = 0; q < process_queue_count(process); q++) {
        struct limit limit = {0};
        bool any = false;

        for (size_t i = 0; i < count && !any; i++)
            any = entries[i].stream / JOB_PRIORITY_COUNT == q;
        if (any && limit_board_queue(process->limits, process->queues.items[q].name, &limit) &&
            limit.concurrency)
            streams[told++] = &process->streams[q * JOB_PRIORITY_COUNT];
    }
    return queue_tell_place(keeper->redis, streams, told, e);
}

/* A place in a queue with a concurrency is held until it is acknowledged: that does not wait. */
static int64_t gather_us(const struct keeper *keeper)
{
    const struct process *process = keeper->process;

    for (size_t q = 0; q < process_queue_count(process); q++) {
        struct limit limit = {0};

        if (limit_board_queue(process->limits, process->queues.items[q].name, &limit) &&
            limit.concurrency)
            return 0;
    }
    return GATHER_MS * US_PER_MS;
}

static enum err_code acknowledge(struct keeper *keeper, struct err *e)
{
    struct queue_entry entries[ACK_BATCH];
    struct process *process = keeper->process;

    for (;;) {
        size_t count = pool_list_done(process->pool, entries, ACK_BATCH);
        enum err_code rc;

        if (count == 0)
            return ERR_OK;
        CRASH_POINT("ack.before");
        rc = queue_ack(keeper->redis, process->streams, entries, count, e);
        if (rc)
            return rc;
        CRASH_POINT("ack.done");
        pool_forget_done(process->pool, count);
        rc = tell_places(keeper, entries, count, e);
        if (rc)
            return rc;
    }
}

/* ---- leases ---- */

/* Redis takes what leases need, from us as from everybody. */
static void note_kept(struct keeper *keeper)
{
    struct process *process = keeper->process;
    int64_t now_us = clock_mono_us();
    int64_t last_us = atomic_load(&process->kept_us);

    if (last_us && now_us - last_us > keeper->lease_us * 2 / 3)
        atomic_store(&process->take_over_from_us, now_us + keeper->lease_us / 3);
    atomic_store(&process->kept_us, now_us); /* after it: who sees the one sees the other */
}

struct lost {
    const struct queue_entry *entries;
    size_t count;
};

static bool mark_lost(struct item *item, void *context)
{
    const struct lost *lost = context;

    for (size_t i = 0; i < lost->count; i++)
        if (lost->entries[i].stream == item->delivery.stream &&
            strcmp(lost->entries[i].entry, item->delivery.entry) == 0)
            item->lost = true;
    return false;
}

/* After more than usual: what has been taken over meanwhile is another's. */
static enum err_code renew_own(struct keeper *keeper, struct queue_entry *entries, size_t count,
                               struct err *e)
{
    struct process *process = keeper->process;
    struct lost lost = {.entries = entries};
    enum err_code rc = queue_renew_own(keeper->redis, &keeper->renew_script, process->streams,
                                       process->name, entries, count, &lost.count, e);

    if (rc)
        return rc;
    if (lost.count > 0)
        log_warn("leases_lost", L_INT("held", count), L_INT("count", lost.count));
    for (int state = 0; lost.count > 0 && state < ITEM_DONE; state++)
        pool_visit(process->pool, (enum item_state)state, mark_lost, &lost);
    return ERR_OK;
}

static enum err_code renew(struct keeper *keeper, struct err *e)
{
    AUTO(mem_free) struct queue_entry *entries = mem_array(HELD_MAX, sizeof *entries);
    struct process *process = keeper->process;
    int64_t now_us = clock_mono_us();
    size_t count = pool_list_held(process->pool, entries, HELD_MAX);
    struct err own = {0};
    enum err_code rc;

    if (count > 0 &&
        now_us - keeper->renewed_us > keeper->lease_us / 2) /* it may arrive late, too */
        rc = renew_own(keeper, entries, count, &own);
    else
        rc = queue_renew(keeper->redis, process->streams, process->name, entries, count, &own);
    /* Without a group there is nothing to hold: the data is gone, and fetching makes it anew. */
    if (rc && strcmp(redis_error_word(keeper->redis), "NOGROUP") != 0)
        return err_set_detail(e, rc, own.detail, "%s", own.text);
    CRASH_POINT("lease.renewed");
    if (!rc && count > 0)
        note_kept(keeper);
    keeper->renewed_us = now_us;
    return ERR_OK;
}

/* ---- heartbeat ---- */

static enum err_code beat(struct keeper *keeper, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf report;
    struct process *process = keeper->process;

    CRASH_POINT("heartbeat.before");
    buf_init(&report, REPORT_MAX);
    report_write(process, &report);
    return queue_worker_heartbeat(keeper->redis, process->name, process->token,
                                  process_lease_us(process) / US_PER_MS,
                                  report.overflow ? "{}" : report.data, e);
}

/* ---- hard limits ---- */

static bool note_overrun(struct item *item, void *context)
{
    struct seat *seat = context;

    if (item_has_overrun(item, clock_mono_us()) && !item_is_fast(item))
        seat_add_overrun(seat, &item->job.id, item->job.attempt, item->hard_us);
    return false;
}

/* A handler cannot be ended, its process can: the job that overran has lost this attempt. The main
 * thread gives back what else runs, so that no other loses one, but it has not long for that. */
static void end_overrun(struct keeper *keeper)
{
    struct process *process = keeper->process;
    char task[JOB_NAME_MAX + 1];
    struct uuid id;

    if (keeper->ends_at_us && clock_mono_us() >= keeper->ends_at_us)
        _exit(EXIT_OVERRUN);
    if (keeper->ends_at_us ||
        !pool_find_overrun(process->pool, clock_mono_us(), &id, task, sizeof task))
        return;
    log_error("job_overran_hard_limit", L_STR("job_id", id.text), L_STR("task", task));
    pool_visit(process->pool, ITEM_RUNNING, note_overrun, process->seat);
    keeper->ends_at_us = clock_mono_us() + OVERRUN_LIMIT_MS * US_PER_MS;
    atomic_store(&process->overran, true);
    process_wake_main();
}

/* ---- the loop ---- */

/* Tells the supervisor that the keeper lives, and SIGUSR1 what it is doing. */
static void live(struct keeper *keeper, const char *doing)
{
    int64_t now_us = clock_mono_us();

    atomic_store(&keeper->process->seat->tick_us, now_us);
    process_note_doing(keeper->process, ROLE_KEEPER, doing, now_us);
}

/* Keeps the first error. */
static enum err_code also(enum err_code first, enum err_code rc, const struct err *own,
                          struct err *e)
{
    if (first || !rc)
        return first;
    return err_set_detail(e, rc, own->detail, "%s", own->text);
}

/* While the connection holds, each is done whatever became of the one before: a Redis that is out
 * of memory takes no heartbeat, and would else have the leases run out, too. */
static bool may_go_on(const struct keeper *keeper, enum err_code rc)
{
    return !rc || redis_is_connected(keeper->redis);
}

/* Without memory Redis takes no heartbeat, and with a key of another type in its place no list of
 * workers, but claims. */
static bool takes_claims(const struct keeper *keeper)
{
    const char *word = redis_error_word(keeper->redis);

    return strcmp(word, "OOM") == 0 || strcmp(word, "WRONGTYPE") == 0;
}

static enum err_code do_duties(struct keeper *keeper, struct err *e)
{
    enum err_code rc = acknowledge(keeper, e);

    if (may_go_on(keeper, rc) && clock_mono_us() - keeper->renewed_us >= keeper->lease_us / 3) {
        struct err own = {0};

        live(keeper, "renews leases");
        keeper->renew_rc = renew(keeper, &own);
        rc = also(rc, keeper->renew_rc, &own, e);
    }
    if (may_go_on(keeper, rc) && clock_mono_us() >= keeper->beat_at_us) {
        int64_t pause_us = HEARTBEAT_MS * US_PER_MS;
        struct err own = {0};

        live(keeper, "tells how it is");
        keeper->beat_rc = beat(keeper, &own);
        if (!keeper->beat_rc || takes_claims(keeper))
            note_kept(keeper);
        keeper->beat_at_us =
            clock_mono_us() + (pause_us < keeper->lease_us / 3 ? pause_us : keeper->lease_us / 3);
        if (keeper->beat_rc == ERR_CONFLICT)
            atomic_store(&keeper->process->name_lost, true);
        rc = also(rc, keeper->beat_rc, &own, e);
    }
    return rc;
}

/* The main thread looks once a second; a process with a limit of jobs may run thousands meanwhile.
 */
static void note_jobs(struct keeper *keeper)
{
    struct process *process = keeper->process;
    int64_t max = process->conf->worker_max_jobs;

    if (!max || keeper->told_jobs || pool_counts(process->pool).finished < max)
        return;
    keeper->told_jobs = true;
    process_wake_main();
}

static void pause_briefly(void)
{
    const struct timespec pause = clock_timespec(PAUSE_MS * US_PER_MS);

    (void)nanosleep(&pause, NULL);
}

static void finish(struct keeper *keeper)
{
    struct process *process = keeper->process;

    for (int i = 0; i < LAST_ROUNDS; i++) {
        struct err e = {0};
        enum err_code rc = acknowledge(keeper, &e);

        CRASH_POINT("leave.before");
        live(keeper, "ends");
        if (!rc && !atomic_load(&process->is_replaced))
            rc = queue_worker_leave(keeper->redis, process->name, process->token, &e);
        if (!rc || rc == ERR_CONFLICT) /* the name is another's already */
            return;
        pause_briefly();
    }
    log_warn("acknowledgements_left", L_INT("count", pool_counts(process->pool).done));
}

void *keeper_main(void *context)
{
    struct process *process = context;
    struct keeper keeper = {.process = process,
                            .lease_us = process_lease_us(process),
                            .renewed_us = clock_mono_us(),
                            .healthy = true};

    (void)pthread_setname_np(pthread_self(), "keeper");
    log_context_set("worker", process->name);
    keeper.redis = redis_open(process->conf->redis_url, process->name, REDIS_TIMEOUT_MS);
    while (!atomic_load(&process->keeper_ends)) {
        struct err e = {0};
        int64_t renew_in_us = keeper.renewed_us + keeper.lease_us / 3 - clock_mono_us();
        int64_t beat_in_us = keeper.beat_at_us - clock_mono_us();
        int64_t wait_us = renew_in_us < beat_in_us ? renew_in_us : beat_in_us;
        enum err_code rc;

        if (keeper.ends_at_us && wait_us > PAUSE_MS * US_PER_MS)
            wait_us = PAUSE_MS * US_PER_MS;
        if (events_wait(process->events) && wait_us > EVENTS_ROUND_MS * US_PER_MS)
            wait_us = EVENTS_ROUND_MS * US_PER_MS;
        live(&keeper, "waits");
        pool_wait_done(process->pool, wait_us, gather_us(&keeper));
        live(&keeper, "acknowledges");
        rc = do_duties(&keeper, &e);
        note_health(&keeper, rc, &e);
        if (!rc)
            events_send(process->events, keeper.redis, process->name);
        end_overrun(&keeper);
        note_jobs(&keeper);
        if (rc)
            pause_briefly();
    }
    finish(&keeper);
    redis_close(keeper.redis);
    return NULL;
}
