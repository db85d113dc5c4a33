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

#include "common/buf.h"
#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/jobs.h"
#include "common/jobs_heal.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/migrate.h"
#include "common/text.h"
#include "common/time_limits.h"
#include "worker/control.h"
#include "worker/intake.h"
#include "worker/reader.h"
#include "worker/tasks.h"

enum {
    BLOCK_MS = 5000,
    REDIS_TIMEOUT_MS = BLOCK_MS + 5000, /* a silent socket is dead */
    ROOM_WAIT_MS = 1000,
    PAUSE_MS = 100,  /* between attempts to reach a server */
    CLOSED_MS = 200, /* between looks while all queues are paused */
    UNKNOWN_MS = 5,  /* between looks while it is not known yet which are */
    SECRETS_BYTES = 4096,
};

struct fetch {
    struct process *process;
    struct intake intake;
    struct redis *redis;
    uint64_t generation;     /* of the connection whose own entries were looked for */
    size_t greeted;          /* streams that have their group, as far as this connection knows */
    int64_t take_over_at_us; /* monotonic: when to look for dead workers' entries next */
    bool is_known;           /* the database is ours and knows our tasks */
    bool has_no_past;        /* what a former process of this name had by places is taken back */
    struct reader *reader;
};

static bool is_working(const struct fetch *fetch)
{
    return process_phase(fetch->process) == PROCESS_RUNNING;
}

static void doing(const struct fetch *fetch, const char *what)
{
    process_note_doing(fetch->process, ROLE_FETCH, what, clock_mono_us());
}

/* ---- reading ---- */

static void look_at_orders(struct fetch *fetch)
{
    struct process *process = fetch->process;
    uint64_t epoch = atomic_load(&process->control_epoch);
    struct limit_list limits;

    if (epoch == atomic_load(&process->control_seen))
        return;
    reader_refresh(fetch->reader);
    limits = limit_board_copy(process->limits);
    intake_set_limits(&fetch->intake, &limits);
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
        intake_take(&fetch->intake, &deliveries);
    return rc;
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
        intake_take(&fetch->intake, &deliveries);
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
                                              INTAKE_MAX, cursor, &deliveries, e);

            if (rc)
                return rc;
            if (deliveries.count == 0)
                break;
            CRASH_POINT("fetch.own");
            memcpy(cursor, deliveries.items[deliveries.count - 1].entry, sizeof cursor);
            intake_take(&fetch->intake, &deliveries);
        }
    }
    return ERR_OK;
}

/* What a former process of this name ran without an entry (passing.h). Before it takes its own. */
static enum err_code take_passed(struct fetch *fetch, struct err *e)
{
    AUTO_VALUE(job_list_release) struct job_list jobs = {0};
    enum err_code rc;

    if (fetch->has_no_past)
        return ERR_OK;
    rc = jobs_take_own_passed(fetch->intake.db, fetch->process->name, &jobs, e);
    if (rc)
        return rc;
    fetch->has_no_past = true;
    if (jobs.count == 0)
        return ERR_OK;
    log_warn("passed_jobs_taken_back", L_INT("count", jobs.count));
    return job_list_push(&jobs, fetch->redis, e);
}

/* Of the former process of this seat. Before its jobs are taken: whoever claims one that was cut
 * off keeps the error that it has. */
static enum err_code note_overruns(struct fetch *fetch, struct err *e)
{
    struct seat *seat = fetch->process->seat;

    while (!fetch->has_no_past && atomic_load(&seat->overrun_count) > 0) {
        int last = atomic_load(&seat->overrun_count) - 1;
        const struct seat_overrun *overrun = &seat->overruns[last];
        enum err_code rc = jobs_note_overrun(fetch->intake.db, &overrun->id, overrun->attempt,
                                             overrun->limit_us, e);

        if (rc)
            return rc;
        atomic_store(&seat->overrun_count, last);
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
                             room < INTAKE_MAX ? room : INTAKE_MAX,
                             process_lease_us(fetch->process) / US_PER_MS, cursor, &deliveries, e);
        if (rc)
            return rc;
        if (deliveries.count > 0) {
            CRASH_POINT("fetch.taken_over");
            intake_take(&fetch->intake, &deliveries);
        }
    } while (strcmp(cursor, "0-0") != 0);
    return ERR_OK;
}

/* Where Redis was away, workers that live could not renew: they get the time for it. */
static bool may_take_over(struct fetch *fetch)
{
    const struct process *process = fetch->process;
    int64_t kept_us = atomic_load(&process->kept_us);
    int64_t from_us = atomic_load(&process->take_over_from_us);
    int64_t now_us = clock_mono_us();

    if (now_us < fetch->take_over_at_us)
        return false;
    if (kept_us == 0 ||
        (now_us - kept_us <= process_lease_us(fetch->process) * 2 / 3 && now_us >= from_us))
        return true;
    fetch->take_over_at_us =
        now_us < from_us ? from_us : now_us + process_lease_us(fetch->process) / 6;
    return false;
}

static enum err_code take_over(struct fetch *fetch, struct err *e)
{
    /* Within a third of a lease after the lease ran out, and not all workers at once. */
    int64_t pause_us = process_lease_us(fetch->process) / 6;
    size_t count;
    const size_t *open = reader_open(fetch->reader, &count);

    pause_us += (int64_t)randombytes_uniform((uint32_t)(process_lease_us(fetch->process) / 6));
    fetch->take_over_at_us = clock_mono_us() + pause_us;
    for (size_t i = 0; i < count; i++) {
        enum err_code rc = take_over_stream(fetch, open[i], e);

        if (rc)
            return rc;
    }
    return ERR_OK;
}

/* ---- the loop ---- */

static enum err_code declare(struct db *db, const struct task *task, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf secrets;
    enum err_code rc;

    buf_init(&secrets, SECRETS_BYTES);
    for (size_t i = 0; i < TASK_SECRETS_MAX && task->secrets[i]; i++)
        db_array_add(&secrets, task->secrets[i]);
    db_array_end(&secrets);
    rc = jobs_declare_task(db,
                           &(struct task_declared){.name = task->name,
                                                   .queue = task->queue,
                                                   .max_attempts = task->max_attempts,
                                                   .fast = task->fast,
                                                   .retention_s = task->retention_s,
                                                   .secrets = secrets.data},
                           e);
    return rc ? rc
              : time_limits_declare(db, task->name, task->soft_limit_s * INT64_C(1000),
                                    task->hard_limit_s * INT64_C(1000), e);
}

/* Tells the database what this build can run; refuses to work on one that lacks migrations. */
static enum err_code introduce(struct fetch *fetch, struct err *e)
{
    enum err_code rc = fetch->is_known ? ERR_OK : migrate_check(fetch->intake.db, e);

    for (size_t i = 0; !rc && !fetch->is_known && i < tasks_count; i++)
        rc = declare(fetch->intake.db, tasks[i], e);
    fetch->is_known = !rc;
    return rc;
}

/* Groups of the streams that are new. */
static enum err_code greet_streams(struct fetch *fetch, struct err *e)
{
    const struct process *process = fetch->process;
    size_t count = atomic_load(&process->stream_count);
    enum err_code rc = ERR_OK;

    if (count > fetch->greeted)
        rc = queue_create_groups(fetch->redis, process->streams + fetch->greeted,
                                 count - fetch->greeted, e);
    if (!rc)
        fetch->greeted = count;
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
        return rc ? rc : greet_streams(fetch, e);
    atomic_store(&process->fetch_client, 0);
    fetch->greeted = 0;
    rc = greet_streams(fetch, e);
    if (!rc)
        rc = queue_client_id(fetch->redis, &client, e);
    if (!rc)
        rc = note_overruns(fetch, e);
    if (!rc)
        rc = take_passed(fetch, e);
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
    if (!rc && may_take_over(fetch)) {
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
    rc = read_in_turn(fetch, room < INTAKE_MAX ? room : INTAKE_MAX, &got, e);
    if (rc || got > 0 || !is_working(fetch) || control_fetch_is_behind(process))
        return rc;
    doing(fetch, "waits for entries");
    return read_waiting(fetch, e);
}

void *fetch_main(void *context)
{
    struct process *process = context;
    struct fetch fetch = {.process = process, .intake = {.process = process}};
    char told[sizeof((struct err *)0)->text] = "";
    bool healthy = true;

    (void)pthread_setname_np(pthread_self(), "fetch");
    log_context_set("worker", process->name);
    meter_attach(process->meters, SEAT_SLOTS_MAX);
    fetch.reader = reader_new(process);
    fetch.intake.db = db_open(process->conf->database_url, "till-worker");
    fetch.redis = redis_open(process->conf->redis_url, process->name, REDIS_TIMEOUT_MS);
    fetch.intake.redis = fetch.redis;
    while (is_working(&fetch)) {
        struct err e = {0};
        enum err_code rc = step(&fetch, &e);

        if (rc && (healthy || strcmp(e.text, told) != 0)) {
            log_warn("fetch_interrupted", L_ERR(&e));
            text_copy(told, sizeof told, e.text);
        } else if (!rc && !healthy)
            log_info("fetch_resumed");
        healthy = !rc;
        if (rc)
            (void)process_pause(process, PAUSE_MS * US_PER_MS);
    }
    atomic_store(&process->fetch_client, 0);
    redis_close(fetch.redis);
    db_close(fetch.intake.db);
    reader_free(fetch.reader);
    intake_release(&fetch.intake);
    return NULL;
}
