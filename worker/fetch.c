/* SPDX-License-Identifier: MIT
 *
 * Fetching and claiming; see fetch.h. Owns two connections: a blocked XREADGROUP keeps the Redis
 * one for itself, so everything else (acks, leases) has another.
 *
 * After every new connection the entries that are pending under our own name, but not in the pool,
 * come first: a former process of this name left them, or they were on their way when the
 * connection died.
 *
 * A paused queue is left alone: neither read nor taken over nor searched for one's own. What stays
 * pending in it meanwhile comes by takeover after it is resumed.
 */
#include "worker/fetch.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "common/clock.h"
#include "common/jobs.h"
#include "common/jobs_run.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/migrate.h"
#include "common/trace.h"
#include "worker/control.h"
#include "worker/reader.h"
#include "worker/tasks.h"

enum {
    BLOCK_MS = 5000,
    REDIS_TIMEOUT_MS = BLOCK_MS + 5000, /* a silent socket is dead */
    ROOM_WAIT_MS = 1000,
    PAUSE_MS = 100,  /* between attempts to reach a server */
    CLOSED_MS = 200, /* between looks while all queues are paused */
    UNKNOWN_MS = 5,  /* between looks while it is not known yet which are */
    BATCH_MAX = 256,
};

struct fetch {
    struct process *process;
    struct db *db;
    struct redis *redis;
    uint64_t generation;     /* of the connection whose own entries were looked for */
    int64_t take_over_at_us; /* monotonic: when to look for dead workers' entries next */
    bool is_known;           /* the database is ours and knows our tasks */
    struct reader *reader;
    struct limit_list limits; /* owned: of tasks and keys */
};

static bool is_working(const struct fetch *fetch)
{
    return process_phase(fetch->process) == PROCESS_RUNNING;
}

static void doing(const struct fetch *fetch, const char *what)
{
    process_note_doing(fetch->process, ROLE_FETCH, what, clock_mono_us());
}

/* ---- claiming ---- */

/* One batch: items in the pool (CLAIMING), and what the claim needs of them in arrays. */
struct claiming {
    struct item *items[BATCH_MAX];
    struct queue_delivery keys[BATCH_MAX]; /* shallow copies: ids and entries of durable jobs */
    struct claim claims[BATCH_MAX];
    int max_attempts[BATCH_MAX]; /* of fast jobs */
    size_t count;
    size_t fast_count; /* fast jobs whose task has a limit: they become rows */
};

/* Items that go on together: to the slots, or to be acknowledged. */
struct items {
    struct item *list[BATCH_MAX];
    size_t count;
};

static void finish(struct fetch *fetch, const struct items *items, bool acknowledge)
{
    bool marks[BATCH_MAX];

    for (size_t i = 0; i < items->count; i++)
        marks[i] = acknowledge;
    if (items->count > 0)
        pool_finish(fetch->process->pool, items->list, marks, items->count);
}

/* One line a batch: fast jobs come at a rate that no log should see. */
static void note_fast(struct fetch *fetch, int expired, int dropped_traces)
{
    atomic_fetch_add(&fetch->process->dropped, (uint_fast64_t)expired);
    if (expired > 0)
        log_info("fast_jobs_expired", L_INT("count", expired));
    if (dropped_traces > 0)
        log_warn("traceparents_dropped", L_INT("count", dropped_traces));
}

static void add_to_claim(struct claiming *claiming, struct item *item)
{
    claiming->items[claiming->count] = item;
    claiming->keys[claiming->count++] = item->delivery;
}

static bool has_limit(const struct fetch *fetch, const char *task)
{
    for (size_t i = 0; i < fetch->limits.count; i++)
        if (fetch->limits.items[i].scope == LIMIT_TASK &&
            strcmp(fetch->limits.items[i].name, task) == 0)
            return true;
    return false;
}

/* Nothing can hold a stream entry back but a row: under a limit a fast job becomes a durable one.
 */
static void make_durable(struct claiming *claiming, struct item *item)
{
    const struct task *task = task_find(item->delivery.task);

    item->delivery.kind = DELIVERY_DURABLE;
    claiming->max_attempts[claiming->count] = task ? task->max_attempts : JOB_DEFAULT_ATTEMPTS;
    claiming->fast_count++;
    add_to_claim(claiming, item);
}

/* Moves the deliveries into the pool. Fast jobs, and entries that are no jobs, need no claim. */
static void collect(struct fetch *fetch, struct queue_deliveries *deliveries,
                    struct claiming *claiming)
{
    struct pool *pool = fetch->process->pool;
    struct items ready = {.count = 0};
    struct items gone = {.count = 0};
    int64_t now_us = clock_wall_us();
    int expired = 0;
    int dropped_traces = 0;

    for (size_t i = 0; i < deliveries->count; i++) {
        struct queue_delivery *delivery = &deliveries->items[i];
        struct item *item;

        if (delivery->taken_over) {
            if (pool_holds(pool, delivery->stream, delivery->entry))
                continue; /* ours, and in work */
            atomic_fetch_add(&fetch->process->taken_over, 1);
        }
        item = pool_add(pool, delivery);
        switch (item->delivery.kind) {
        case DELIVERY_GONE:
            gone.list[gone.count++] = item;
            break;
        case DELIVERY_FAST:
            dropped_traces += item->delivery.trace_dropped;
            if (item->delivery.expires_us && item->delivery.expires_us <= now_us) {
                gone.list[gone.count++] = item;
                expired++;
                break;
            }
            if (has_limit(fetch, item->delivery.task)) {
                make_durable(claiming, item);
                break;
            }
            item->task = task_find(item->delivery.task);
            ready.list[ready.count++] = item;
            break;
        case DELIVERY_UNDECODABLE:
            ready.list[ready.count++] = item;
            break;
        case DELIVERY_DURABLE:
            add_to_claim(claiming, item);
            break;
        }
    }
    note_fast(fetch, expired, dropped_traces);
    finish(fetch, &gone, true);
    if (ready.count > 0)
        pool_make_ready(pool, ready.list, ready.count);
}

/* For the log; NULL when the job has no trace. */
static const char *trace_id(const struct job *job, char out[TRACE_ID_SIZE])
{
    struct trace trace;

    if (!job->traceparent || !trace_parse(job->traceparent, &trace))
        return NULL;
    memcpy(out, trace.id, TRACE_ID_SIZE);
    return out;
}

static void distribute(struct fetch *fetch, struct claiming *claiming)
{
    struct items ready = {.count = 0};
    struct items over = {.count = 0};
    char id[TRACE_ID_SIZE];

    for (size_t i = 0; i < claiming->count; i++) {
        struct claim *claim = &claiming->claims[i];
        struct item *item = claiming->items[i];

        switch (claim->result) {
        case CLAIM_RUN:
            item->job = claim->job;
            item->task = task_find(item->job.task);
            ready.list[ready.count++] = item;
            break;
        case CLAIM_DEAD:
            meter_count(task_find(claim->job.task), claiming->keys[i].stream, METER_FAILED, -1);
            log_error("job_failed", L_STR("job_id", claim->job.id.text),
                      L_STR("task", claim->job.task), L_STR("trace_id", trace_id(&claim->job, id)),
                      L_STR("error", "its attempts are used up: it ended its workers"));
            job_release(&claim->job);
            over.list[over.count++] = item;
            break;
        case CLAIM_EXPIRED:
            atomic_fetch_add(&fetch->process->dropped, 1);
            log_info("job_expired", L_STR("job_id", claim->job.id.text),
                     L_STR("task", claim->job.task), L_STR("trace_id", trace_id(&claim->job, id)));
            job_release(&claim->job);
            over.list[over.count++] = item;
            break;
        case CLAIM_DROP:
            atomic_fetch_add(&fetch->process->dropped, 1);
            over.list[over.count++] = item;
            break;
        }
    }
    finish(fetch, &over, true);
    if (ready.count > 0)
        pool_make_ready(fetch->process->pool, ready.list, ready.count);
}

/* Leaves the batch to others: without an acknowledgement, its entries come back. */
static void abandon(struct fetch *fetch, const struct claiming *claiming)
{
    struct items items = {.count = claiming->count};

    for (size_t i = 0; i < claiming->count; i++)
        items.list[i] = claiming->items[i];
    finish(fetch, &items, false);
}

/* Under limits of tasks or keys those that may not run yet are parked first, in one transaction. */
static enum err_code claim_limited(struct fetch *fetch, struct claiming *batch, bool retried,
                                   struct err *e)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    enum err_code rc = db_begin(fetch->db, &tx, e);

    if (!rc && batch->fast_count > 0)
        rc = limits_make_rows(fetch->db, batch->keys, batch->max_attempts, batch->count,
                              fetch->process->streams, e);
    if (!rc)
        rc = limits_admit(fetch->db, batch->keys, batch->count, e);
    if (!rc)
        rc = jobs_claim(fetch->db, fetch->process->name, batch->keys, batch->count, retried,
                        batch->claims, e);
    if (rc)
        return rc;
    rc = db_commit(&tx, e);
    for (size_t i = 0; rc && i < batch->count; i++)
        job_release(&batch->claims[i].job);
    return rc;
}

static enum err_code claim_once(struct fetch *fetch, struct claiming *batch, bool retried,
                                struct err *e)
{
    if (fetch->limits.count > 0)
        return claim_limited(fetch, batch, retried, e);
    return jobs_claim(fetch->db, fetch->process->name, batch->keys, batch->count, retried,
                      batch->claims, e);
}

/* Claims until it is answered; the keeper renews the leases meanwhile. */
static void claim(struct fetch *fetch, struct claiming *batch)
{
    for (bool retried = false; batch->count > 0; retried = true) {
        struct err e = {0};
        enum err_code rc = claim_once(fetch, batch, retried, &e);

        if (!rc) {
            distribute(fetch, batch);
            return;
        }
        doing(fetch, "waits for the database");
        if (!retried)
            log_warn("claim_failed", L_ERR(&e));
        if (!process_pause(fetch->process, PAUSE_MS * US_PER_MS)) {
            abandon(fetch, batch);
            return;
        }
    }
}

/* How long the oldest of each stream waited there, by our clock; not of those taken over. */
static void note_lag(struct process *process, const struct queue_deliveries *deliveries)
{
    int64_t now_us = clock_wall_us();
    int64_t worst_us = atomic_load(&process->lag_us);

    for (size_t i = 0; i < deliveries->count; i++) {
        const struct queue_delivery *one = &deliveries->items[i];

        if (!one->taken_over && (i == 0 || one->stream != one[-1].stream)) {
            int64_t lag_us = now_us - queue_entry_time_us(one->entry);

            worst_us = lag_us > worst_us ? lag_us : worst_us;
        }
    }
    atomic_store(&process->lag_us, worst_us);
}

static void take_in(struct fetch *fetch, struct queue_deliveries *deliveries)
{
    AUTO(mem_free) struct claiming *batch = mem_alloc(sizeof *batch);

    note_lag(fetch->process, deliveries);
    collect(fetch, deliveries, batch);
    claim(fetch, batch);
}

/* ---- reading ---- */

static void look_at_orders(struct fetch *fetch)
{
    struct process *process = fetch->process;
    uint64_t epoch = atomic_load(&process->control_epoch);

    if (epoch == atomic_load(&process->control_seen))
        return;
    reader_refresh(fetch->reader);
    limit_list_release(&fetch->limits);
    fetch->limits = limit_board_copy(process->limits);
    fetch->take_over_at_us = 0; /* a resumed queue may hold what dead workers have left */
    atomic_store(&process->control_seen, epoch);
}

/* One round, until the room is filled. */
static enum err_code read_in_turn(struct fetch *fetch, int room, size_t *ret_count, struct err *e)
{
    AUTO_VALUE(queue_deliveries_release) struct queue_deliveries deliveries = {0};
    enum err_code rc = reader_read(fetch->reader, fetch->redis, room, &deliveries, e);

    *ret_count = deliveries.count;
    if (deliveries.count > 0)
        take_in(fetch, &deliveries);
    return rc;
}

static int64_t lease_us(const struct fetch *fetch)
{
    return fetch->process->conf->lease_seconds * US_PER_S;
}

/* Waits for the first entry of any stream; what follows comes by read_in_turn(). */
static enum err_code read_waiting(struct fetch *fetch, struct err *e)
{
    AUTO_VALUE(queue_deliveries_release) struct queue_deliveries deliveries = {0};
    int64_t block_ms = (fetch->take_over_at_us - clock_mono_us()) / US_PER_MS + 1;
    enum err_code rc;

    if (block_ms > BLOCK_MS)
        block_ms = BLOCK_MS;
    if (block_ms < 1)
        block_ms = 1;
    rc = reader_wait(fetch->reader, fetch->redis, (int)block_ms, &deliveries, e);
    if (!rc && deliveries.count > 0)
        take_in(fetch, &deliveries);
    return rc;
}

/* ---- taking over ---- */

/* All that is pending under our own name and not in the pool. */
static enum err_code take_own(struct fetch *fetch, struct err *e)
{
    struct process *process = fetch->process;
    size_t count;
    const size_t *open = reader_open(fetch->reader, &count);

    for (size_t n = 0; n < count; n++) {
        size_t i = open[n];
        char cursor[QUEUE_ENTRY_SIZE] = "0";

        for (;;) {
            AUTO_VALUE(queue_deliveries_release) struct queue_deliveries deliveries = {0};
            enum err_code rc = queue_read_own(fetch->redis, process->streams, i, process->name,
                                              BATCH_MAX, cursor, &deliveries, e);

            if (rc)
                return rc;
            if (deliveries.count == 0)
                break;
            memcpy(cursor, deliveries.items[deliveries.count - 1].entry, sizeof cursor);
            take_in(fetch, &deliveries);
        }
    }
    return ERR_OK;
}

/* What others have not renewed for a lease, as far as there is room; the cursor to its end. */
static enum err_code take_over_stream(struct fetch *fetch, size_t stream, struct err *e)
{
    struct process *process = fetch->process;
    char cursor[QUEUE_ENTRY_SIZE] = "0-0";

    do {
        AUTO_VALUE(queue_deliveries_release) struct queue_deliveries deliveries = {0};
        int room = pool_wait_room(process->pool, ROOM_WAIT_MS * US_PER_MS);
        enum err_code rc;

        if (room == 0 || !is_working(fetch))
            return ERR_OK;
        rc = queue_take_over(fetch->redis, process->streams, stream, process->name,
                             room < BATCH_MAX ? room : BATCH_MAX, lease_us(fetch) / US_PER_MS,
                             cursor, &deliveries, e);
        if (rc)
            return rc;
        if (deliveries.count > 0)
            take_in(fetch, &deliveries);
    } while (strcmp(cursor, "0-0") != 0);
    return ERR_OK;
}

static enum err_code take_over(struct fetch *fetch, struct err *e)
{
    /* Within a third of a lease after the lease ran out, and not all workers at once. */
    int64_t pause_us = lease_us(fetch) / 6;
    size_t count;
    const size_t *open = reader_open(fetch->reader, &count);

    pause_us += (int64_t)randombytes_uniform((uint32_t)(lease_us(fetch) / 6));
    fetch->take_over_at_us = clock_mono_us() + pause_us;
    for (size_t i = 0; i < count; i++) {
        enum err_code rc = take_over_stream(fetch, open[i], e);

        if (rc)
            return rc;
    }
    return ERR_OK;
}

/* ---- the loop ---- */

/* Tells the database what this build can run; refuses to work on one that lacks migrations. */
static enum err_code introduce(struct fetch *fetch, struct err *e)
{
    enum err_code rc = fetch->is_known ? ERR_OK : migrate_check(fetch->db, e);

    for (size_t i = 0; !rc && !fetch->is_known && i < tasks_count; i++)
        rc = jobs_declare_task(fetch->db, tasks[i]->name, tasks[i]->queue, tasks[i]->max_attempts,
                               tasks[i]->fast, tasks[i]->retention_s, e);
    fetch->is_known = !rc;
    return rc;
}

/* A new connection: groups, its id for being woken, and what was left under our name. */
static enum err_code greet(struct fetch *fetch, struct err *e)
{
    struct process *process = fetch->process;
    int64_t client = 0;
    enum err_code rc;

    if (atomic_exchange(&process->reconnect, false))
        redis_disconnect(fetch->redis);
    rc = redis_connect(fetch->redis, e);
    if (rc || redis_generation(fetch->redis) == fetch->generation)
        return rc;
    atomic_store(&process->fetch_client, 0);
    rc = queue_create_groups(fetch->redis, process->streams, process->stream_count, e);
    if (!rc)
        rc = queue_client_id(fetch->redis, &client, e);
    if (!rc)
        rc = take_own(fetch, e);
    if (rc)
        return rc;
    atomic_store(&process->fetch_client, client);
    fetch->generation = redis_generation(fetch->redis);
    return ERR_OK;
}

static enum err_code step(struct fetch *fetch, struct err *e)
{
    struct process *process = fetch->process;
    enum err_code rc = introduce(fetch, e);
    size_t open_count;
    size_t got = 0;
    int room;

    if (rc)
        return rc;
    look_at_orders(fetch);
    if (atomic_load(&process->control_epoch) == 0) {
        doing(fetch, "waits for orders");
        (void)process_pause(process, UNKNOWN_MS * US_PER_MS);
        return ERR_OK;
    }
    doing(fetch, "connects");
    rc = greet(fetch, e);
    atomic_store(&process->redis_lost, rc != ERR_OK);
    if (!rc)
        atomic_store(&process->seat->is_ready, true);
    if (!rc && clock_mono_us() >= fetch->take_over_at_us) {
        doing(fetch, "takes over");
        rc = take_over(fetch, e);
    }
    if (rc)
        return rc;
    (void)reader_open(fetch->reader, &open_count);
    if (open_count == 0) {
        doing(fetch, "is quiet or paused");
        (void)process_pause(process, CLOSED_MS * US_PER_MS);
        return ERR_OK;
    }
    doing(fetch, "waits for room");
    room = pool_wait_room(process->pool, ROOM_WAIT_MS * US_PER_MS);
    if (room == 0 || !is_working(fetch) || control_fetch_is_behind(process))
        return ERR_OK;
    doing(fetch, "reads");
    rc = read_in_turn(fetch, room < BATCH_MAX ? room : BATCH_MAX, &got, e);
    if (rc || got > 0 || !is_working(fetch) || control_fetch_is_behind(process))
        return rc;
    doing(fetch, "waits for entries");
    return read_waiting(fetch, e);
}

void *fetch_main(void *context)
{
    struct process *process = context;
    struct fetch fetch = {.process = process};
    bool healthy = true;

    (void)pthread_setname_np(pthread_self(), "fetch");
    log_context_set("worker", process->name);
    meter_attach(process->meters, SEAT_SLOTS_MAX);
    fetch.reader = reader_new(process);
    fetch.db = db_open(process->conf->database_url, "till-worker");
    fetch.redis = redis_open(process->conf->redis_url, process->name, REDIS_TIMEOUT_MS);
    while (is_working(&fetch)) {
        struct err e = {0};
        enum err_code rc = step(&fetch, &e);

        if (rc && healthy)
            log_warn("fetch_interrupted", L_ERR(&e));
        else if (!rc && !healthy)
            log_info("fetch_resumed");
        healthy = !rc;
        if (rc)
            (void)process_pause(process, PAUSE_MS * US_PER_MS);
    }
    atomic_store(&process->fetch_client, 0);
    redis_close(fetch.redis);
    db_close(fetch.db);
    reader_free(fetch.reader);
    limit_list_release(&fetch.limits);
    return NULL;
}
