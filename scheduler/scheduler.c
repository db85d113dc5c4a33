/* SPDX-License-Identifier: MIT
 *
 * The scheduler's loop; see scheduler.h. It sleeps in poll() on three things at once: a
 * notification of PostgreSQL (somebody inserted a job for later), a signal, and the time of the
 * next duty.
 */
#include "scheduler/scheduler.h"

#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/leader.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/migrate.h"
#include "common/program.h"
#include "common/queue.h"
#include "common/table_growth.h"
#include "scheduler/figures.h"
#include "scheduler/heal.h"
#include "scheduler/indexer.h"
#include "scheduler/parked.h"
#include "scheduler/ticks.h"

enum {
    DUE_BATCH = 500,
    FOLLOW_PAUSE_MS = 1000, /* between attempts to lead */
    ERROR_PAUSE_MS = 200,
    DUE_PAUSE_MS = 2, /* and twice as long each time, while nothing comes of it */
    DUE_PAUSE_MAX_MS = 200,
    ROUND_MS = 500,
    REDIS_TIMEOUT_MS = 5000,
};

/* ---- duties ---- */

bool scheduler_has_time(const struct scheduler *scheduler)
{
    return clock_mono_us() < scheduler->round_until_us;
}

static enum err_code deliver_due(struct scheduler *s, struct err *e)
{
    size_t found;
    enum err_code rc;

    do {
        AUTO_VALUE(job_list_release) struct job_list jobs = {0};

        rc = jobs_take_due(s->db, DUE_BATCH, &jobs, e);
        found = jobs.count;
        if (rc || found == 0)
            break;
        CRASH_POINT("due.marked");
        s->due_pause_us = 0;
        rc = job_list_push(&jobs, s->redis, e);
        CRASH_POINT("due.pushed");
        log_info("jobs_due", L_INT("count", found));
    } while (!rc && found == DUE_BATCH && scheduler_has_time(s));
    return rc;
}

/* Leads, or tries to. A lost connection has lost the lock with it. */
static enum err_code lead(struct scheduler *s, struct ticks *ticks, struct err *e)
{
    bool led = s->leads && db_is_connected(s->db);
    enum err_code rc = led ? ERR_OK : migrate_check(s->db, e);

    s->leads = false;
    if (!rc)
        rc = leader_try(s->db, &s->leads, e);
    if (rc || !s->leads || led)
        return rc;
    CRASH_POINT("lead.won");
    rc = leader_settle(s->db, s->conf->lease_seconds, e);
    if (rc) {
        s->leads = false;
        return rc;
    }
    CRASH_POINT("lead.settled");
    log_info("leading");
    ticks_begin(ticks);
    return ERR_OK;
}

/* ---- waiting ---- */

/* A file that is refused changes nothing. */
static void reload(struct scheduler *s, struct ticks *ticks)
{
    struct err e = {0};

    if (ticks_load(ticks, s->conf, &e))
        log_error("schedules_refused", L_ERR(&e));
    else
        log_info("reloaded", L_STR("schedules_file", s->conf->schedules_file));
}

static void take_signals(struct scheduler *s, struct ticks *ticks)
{
    int number;

    while ((number = program_wait(0)) != 0) {
        if (number == SIGTERM || number == SIGINT || number == SIGQUIT)
            s->stopping = true;
        else if (number == SIGHUP)
            reload(s, ticks);
    }
}

static int open_signal_fd(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGHUP);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void wait_signal(int signal_fd, int64_t timeout_us)
{
    struct pollfd pfd = {.fd = signal_fd, .events = POLLIN};

    (void)poll(&pfd, 1, (int)(timeout_us / US_PER_MS));
}

/* How long to sleep for the rows that jobs_next_due() tells of. One that is due, and was not taken
 * just now, is locked by somebody, perhaps for long: no reason to spin. Others are not kept
 * waiting. */
static int64_t due_wait_us(struct scheduler *s, int64_t due_us, int64_t later_us)
{
    int64_t wait_us;

    if (due_us != 0) {
        s->due_pause_us = 0;
        return due_us;
    }
    s->due_pause_us = s->due_pause_us ? 2 * s->due_pause_us : DUE_PAUSE_MS * US_PER_MS;
    if (s->due_pause_us > DUE_PAUSE_MAX_MS * US_PER_MS)
        s->due_pause_us = DUE_PAUSE_MAX_MS * US_PER_MS;
    wait_us = s->due_pause_us;
    return later_us >= 0 && later_us < wait_us ? later_us : wait_us;
}

/* Sleeps until something is due, at most until `heal_at_us`, and never so long that the server
 * would take our session for a frozen one's. `parked_us`: until a parked job is. */
static enum err_code wait_for_work(struct scheduler *s, struct ticks *ticks, int signal_fd,
                                   int64_t heal_at_us, int64_t parked_us, struct err *e)
{
    int64_t now_us = clock_mono_us();
    int64_t wait_us = s->conf->lease_seconds * US_PER_S / 3;
    int64_t due_us = -1;
    int64_t later_us = -1;
    bool notified;
    enum err_code rc = jobs_next_due(s->db, &due_us, &later_us, e);

    if (rc)
        return rc;
    due_us = due_wait_us(s, due_us, later_us);
    if (due_us >= 0 && due_us < DUE_PAUSE_MS * US_PER_MS)
        due_us = DUE_PAUSE_MS * US_PER_MS;
    if (parked_us == 0) /* somebody has what it is about: no reason to spin */
        parked_us = DUE_PAUSE_MS * US_PER_MS;
    if (parked_us >= 0 && (due_us < 0 || parked_us < due_us))
        due_us = parked_us;
    if (wait_us > heal_at_us - now_us)
        wait_us = heal_at_us - now_us;
    if (wait_us > ticks->look_at_us - now_us)
        wait_us = ticks->look_at_us - now_us;
    if (due_us >= 0 && due_us < wait_us)
        wait_us = due_us;
    rc = db_wait_notify(s->db, signal_fd, wait_us, &notified, e);
    if (!rc && notified)
        ticks_wake(ticks);
    return rc;
}

/* Others make their plans by what the planner knows of a table. */
static enum err_code analyze_grown(struct scheduler *s, struct err *e)
{
    int64_t count = 0;
    enum err_code rc = table_growth_analyze(s->db, &count, e);

    if (!rc && count > 0)
        log_info("tables_analyzed", L_INT("count", count));
    return rc;
}

static enum err_code work(struct scheduler *s, struct missing *missing, struct ticks *ticks,
                          int64_t *heal_at_us, int signal_fd, struct err *e)
{
    struct err tick_error = {0};
    enum err_code tick_rc;
    enum err_code rc = ERR_OK;
    int64_t parked_us = -1;

    if (!s->leads || !db_is_connected(s->db) || clock_mono_us() >= *heal_at_us)
        rc = lead(s, ticks, e);
    if (rc)
        return rc;
    if (!s->leads) {
        wait_signal(signal_fd, FOLLOW_PAUSE_MS * US_PER_MS);
        return ERR_OK;
    }
    s->round_until_us = clock_mono_us() + ROUND_MS * US_PER_MS;
    /* First, and whatever becomes of the rest: ticks need no Redis. With each healing, too, so that
     * an idle scheduler wakes for both at once. */
    if (clock_mono_us() >= *heal_at_us)
        ticks->look_at_us = 0;
    tick_rc = ticks_run(s, ticks, &tick_error);
    /* On a new connection we would not lead any more. */
    rc = tick_rc && !db_is_connected(s->db)
             ? err_set_detail(e, tick_rc, tick_error.detail, "%s", tick_error.text)
             : deliver_due(s, e);
    if (!rc)
        rc = release_parked(s, &parked_us, e);
    if (!rc && clock_mono_us() >= *heal_at_us) {
        rc = heal(s, missing, e);
        if (!rc)
            rc = figures_take(s, e);
        if (!rc)
            rc = analyze_grown(s, e);
        if (!rc)
            *heal_at_us = clock_mono_us() + heal_pause_us(s, missing);
    }
    if (!rc && tick_rc)
        rc = err_set_detail(e, tick_rc, tick_error.detail, "%s", tick_error.text);
    return rc ? rc : wait_for_work(s, ticks, signal_fd, *heal_at_us, parked_us, e);
}

int scheduler_run(const struct conf *conf, struct ticks *ticks)
{
    struct scheduler s = {.conf = conf};
    struct indexer indexer;
    AUTO(mem_free) struct missing *missing = mem_alloc(sizeof *missing);
    int64_t heal_at_us = 0;
    bool healthy = true;
    int signal_fd = open_signal_fd();

    s.db = db_open(conf->database_url, "till-scheduler");
    s.redis = redis_open(conf->redis_url, "till-scheduler", REDIS_TIMEOUT_MS);
    indexer_start(&indexer, conf);
    log_info("ready");
    for (take_signals(&s, ticks); !s.stopping; take_signals(&s, ticks)) {
        struct err e = {0};
        enum err_code rc = work(&s, missing, ticks, &heal_at_us, signal_fd, &e);

        if (rc && healthy)
            log_warn("scheduler_interrupted", L_ERR(&e));
        else if (!rc && !healthy)
            log_info("scheduler_resumed");
        healthy = !rc;
        if (rc)
            wait_signal(signal_fd, ERROR_PAUSE_MS * US_PER_MS);
    }
    indexer_stop(&indexer);
    log_info("stopped");
    redis_close(s.redis);
    db_close(s.db);
    (void)close(signal_fd);
    return EXIT_DONE;
}
