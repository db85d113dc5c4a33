/* SPDX-License-Identifier: MIT
 *
 * Hearing what people order; see control.h. Owns one connection to PostgreSQL, on which it listens,
 * and one to Redis, by which it wakes the fetch thread out of its blocked read. It sleeps until it
 * is notified; every few seconds it looks by itself, in case a notification was lost with its
 * connection. While PostgreSQL is away, what was known last holds.
 */
#include "worker/control.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/jobs_control.h"
#include "common/log.h"
#include "common/worker_orders.h"
#include "worker/deadlines.h"
#include "worker/interrupt.h"
#include "worker/obey.h"

enum {
    REFRESH_MS = 10000,
    ERROR_PAUSE_MS = 200,
    WAKE_PAUSE_MS = 50, /* between attempts to wake the fetch thread */
    DB_LIMIT_S = 5,     /* the end of the process waits for this thread */
    REDIS_TIMEOUT_MS = 2000,
};

struct control {
    struct process *process;
    struct db *db;
    struct redis *redis;
    int64_t refresh_at_us; /* monotonic */
    int64_t renew_at_us;   /* monotonic: the places of revoked jobs; 0: there are none */
    bool listening;
    bool healthy;
};

static bool is_listed(const struct db_result *rows, const char *queue)
{
    for (int i = 0; i < db_rows(rows); i++)
        if (strcmp(db_text(rows, i, 0), queue) == 0)
            return true;
    return false;
}

/* Closes what is paused or not to be consumed; whether any flag is another than before. */
static bool take_paused(struct process *process, const struct db_result *rows)
{
    bool changed = false;

    for (size_t i = 0; i < atomic_load(&process->stream_count); i++) {
        bool ignored = atomic_load(&process->ignored[i]);
        bool closed = ignored || is_listed(rows, process->streams[i].queue);

        if (atomic_exchange(&process->closed[i], closed) == closed)
            continue;
        changed = true;
        if (process->streams[i].priority == JOB_PRIORITY_HIGH && !ignored) /* once a queue */
            log_info(closed ? "queue_paused" : "queue_resumed",
                     L_STR("queue", process->streams[i].queue));
    }
    return changed;
}

/* For one lease, as everything that tells of a life; thrice as often. */
static enum err_code keep_places(struct control *control, struct err *e)
{
    struct process *process = control->process;
    int64_t lease_us = process_lease_us(process);
    bool any = false;
    enum err_code rc = interrupts_keep_places(process->pool, control->db, lease_us, &any, e);

    if (!rc)
        control->renew_at_us = any ? clock_mono_us() + lease_us / 3 : 0;
    return rc;
}

/* Quiet and paused first, then the epoch by which the fetch thread may begin. */
static enum err_code refresh(struct control *control, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(limit_list_release) struct limit_list limits = {0};
    AUTO_VALUE(time_limit_list_release) struct time_limit_list times = {0};
    struct process *process = control->process;
    struct worker_order order;
    enum err_code rc = control->listening ? ERR_OK : queues_listen(control->db, e);
    bool changed;

    process_note_doing(process, ROLE_CONTROL, "asks", clock_mono_us());
    if (!rc)
        rc = queues_list_paused(control->db, &rows, e);
    if (!rc)
        rc = limits_list(control->db, &limits, e);
    if (!rc)
        rc = time_limits_list(control->db, true, &times, e);
    if (!rc)
        rc = worker_orders_of(control->db, process->name, &order, e);
    if (rc)
        return rc;
    deadlines_put(process->deadlines, &times);
    obey_order(process, &order);
    control->listening = true;
    control->refresh_at_us = clock_mono_us() + REFRESH_MS * US_PER_MS;
    changed = obey_consumers(process, &order);
    changed |= take_paused(process, rows);
    changed |= limit_board_put(process->limits, &limits);
    if (changed || atomic_load(&process->control_epoch) == 0)
        atomic_fetch_add(&process->control_epoch, 1);
    rc = interrupts_look(process->interrupts, process->pool, control->db, e);
    return rc ? rc : keep_places(control, e);
}

bool control_fetch_is_behind(const struct process *process)
{
    return atomic_load(&process->reconnect) ||
           atomic_load(&process->control_seen) != atomic_load(&process->control_epoch);
}

void control_wake_fetch(struct process *process, struct redis *redis)
{
    int64_t client = atomic_load(&process->fetch_client);
    struct err e = {0};

    pool_poke(process->pool);
    if (client && queue_unblock(redis, client, &e))
        log_debug("unblock_failed", L_ERR(&e));
}

static enum err_code step(struct control *control, struct err *e)
{
    struct process *process = control->process;
    int64_t wait_us = control->refresh_at_us - clock_mono_us();
    bool notified = false;
    enum err_code rc;

    if (wait_us <= 0)
        return refresh(control, e);
    if (control->renew_at_us && clock_mono_us() >= control->renew_at_us) {
        rc = keep_places(control, e);
        if (rc)
            return rc;
    }
    if (control->renew_at_us && wait_us > control->renew_at_us - clock_mono_us())
        wait_us = control->renew_at_us - clock_mono_us();
    if (control_fetch_is_behind(process)) {
        control_wake_fetch(process, control->redis);
        if (wait_us > WAKE_PAUSE_MS * US_PER_MS)
            wait_us = WAKE_PAUSE_MS * US_PER_MS;
    }
    process_note_doing(process, ROLE_CONTROL, "listens", clock_mono_us());
    rc = db_wait_notify(control->db, process->control_fd, wait_us, &notified, e);
    if (!rc && notified)
        rc = refresh(control, e);
    return rc;
}

/* While the process waits for what runs to end. */
static void see_places_out(struct control *control)
{
    const struct timespec step = clock_timespec(WAKE_PAUSE_MS * US_PER_MS);

    while (control->renew_at_us && !atomic_load(&control->process->keeper_ends)) {
        struct err e = {0};

        if (clock_mono_us() >= control->renew_at_us && keep_places(control, &e))
            log_debug("places_not_kept", L_ERR(&e));
        (void)nanosleep(&step, NULL);
    }
}

void *control_main(void *context)
{
    struct process *process = context;
    struct control control = {.process = process, .healthy = true};

    (void)pthread_setname_np(pthread_self(), "control");
    log_context_set("worker", process->name);
    control.db = db_open(process->conf->database_url, "till-worker-control");
    db_set_deadline(control.db, DB_LIMIT_S);
    control.redis = redis_open(process->conf->redis_url, "till-worker-control", REDIS_TIMEOUT_MS);
    while (process_phase(process) == PROCESS_RUNNING) {
        struct err e = {0};
        enum err_code rc = step(&control, &e);

        if (rc && control.healthy)
            log_warn("control_interrupted", L_ERR(&e));
        else if (!rc && !control.healthy)
            log_info("control_resumed");
        control.healthy = !rc;
        atomic_store(&process->database_lost, rc != ERR_OK);
        if (rc) {
            control.listening = false; /* it may have been the connection */
            control.refresh_at_us = 0;
            (void)process_pause(process, ERROR_PAUSE_MS * US_PER_MS);
        }
    }
    see_places_out(&control);
    redis_close(control.redis);
    db_close(control.db);
    return NULL;
}
