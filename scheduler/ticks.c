/* SPDX-License-Identifier: MIT
 *
 * The schedules; see ticks.h.
 *
 * A tick is decided in one transaction that proves leadership, locks the schedule, reads
 * PostgreSQL's clock, and writes the row of the tick, the job and what is next. Whatever this
 * process believed before (it may have been frozen, or its clock may be wrong) plays no part. That
 * a tick has its row is what keeps it from a second job; leadership only saves work.
 *
 * The next tick is sought after the last one and not after now, so nothing is lost between two
 * looks, and an interval keeps its phase over restarts.
 */
#include "scheduler/ticks.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/leader.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/queue.h"
#include "common/schedules.h"

enum {
    LOOK_PAUSE_S = 60, /* between looks at least this often: PostgreSQL's clock may be set */
    WAKE_PAUSE_S = 1,  /* between looks at most this often when woken, or when a run waits */
    UPKEEP_PAUSE_S = 3600,
    LOCKED_PAUSE_MS = 200,
};

enum err_code ticks_load(struct ticks *ticks, const struct conf *conf, struct err *e)
{
    struct schedule_file file = {0};
    AUTO(mem_free) struct zone *zone = mem_alloc(sizeof *zone);
    enum err_code rc = zone_read(conf->time_zone, zone, e);

    if (!rc && *conf->schedules_file)
        rc = schedule_file_read(conf->schedules_file, conf->time_zone, &file, e);
    if (rc)
        return rc;
    schedule_file_release(&ticks->file);
    ticks->file = file;
    ticks_begin(ticks);
    return ERR_OK;
}

void ticks_release(struct ticks *ticks) { schedule_file_release(&ticks->file); }

void ticks_begin(struct ticks *ticks)
{
    ticks->is_synced = false;
    ticks->look_at_us = 0;
    ticks->upkeep_at_us = 0;
    ticks->passed = 0;
}

void ticks_wake(struct ticks *ticks)
{
    int64_t soon_us = ticks->looked_at_us + WAKE_PAUSE_S * US_PER_S;

    if (ticks->look_at_us > soon_us)
        ticks->look_at_us = soon_us;
}

/* ---- the file ---- */

static enum err_code sync_file(struct scheduler *s, struct ticks *ticks, struct err *e)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    int64_t changed = 0;
    int64_t removed = 0;
    enum err_code rc = db_begin(s->db, &tx, e);

    if (!rc)
        rc = leader_verify(s->db, e);
    if (!rc)
        rc = schedules_sync(s->db, &ticks->file, &changed, &removed, e);
    CRASH_POINT("schedules.before_commit");
    if (!rc)
        rc = db_commit(&tx, e);
    if (!rc)
        log_info("schedules_read", L_STR("file", ticks->file.path),
                 L_INT("count", ticks->file.count), L_INT("changed", changed),
                 L_INT("removed", removed));
    return rc;
}

/* Once when we begin to lead, and each hour: zones change with updates of the system. */
static enum err_code keep_up(struct scheduler *s, struct ticks *ticks, struct err *e)
{
    int64_t count = 0;
    int64_t deleted = 0;
    enum err_code rc = schedules_refresh(s->db, &count, e);

    if (!rc && count == 0)
        log_warn("no_schedules",
                 L_STR("advice", "nothing expires, is reconciled, pruned or reported:"
                                 " name a file in TILL_SCHEDULES_FILE"));
    if (!rc)
        rc = schedules_trim(s->db, &deleted, e);
    if (!rc && deleted > 0)
        log_info("schedule_runs_deleted", L_INT("count", deleted));
    if (!rc)
        ticks->upkeep_at_us = clock_mono_us() + UPKEEP_PAUSE_S * US_PER_S;
    return rc;
}

/* ---- one schedule ---- */

/* What its transaction works with. */
struct turn {
    struct scheduler *scheduler;
    struct schedule_row row;
    struct cron cron;
    struct zone *zone;      /* owned */
    struct job_list pushed; /* ready once the transaction is committed */
};

static void turn_release(struct turn *turn)
{
    schedule_row_release(&turn->row);
    mem_free(turn->zone);
    job_list_release(&turn->pushed);
}

static enum err_code add_job(struct turn *turn, int64_t tick, const struct uuid *job, struct err *e)
{
    struct job_list *list = &turn->pushed;
    struct job_ready ready;
    char text[ZONE_TEXT_SIZE];
    enum err_code rc;

    zone_format(turn->zone, tick, text);
    rc = schedules_enqueue(turn->scheduler->db, &turn->row.schedule, text, job, &ready, e);
    if (rc)
        return rc;
    list->items = mem_resize(list->items, (list->count + 1) * sizeof list->items[0]);
    list->items[list->count++] = ready;
    turn->row.open_runs++;
    return ERR_OK;
}

static enum err_code fire_waiting(struct turn *turn, struct err *e)
{
    struct uuid job = uuid_v7();
    enum err_code rc;

    if (!turn->row.has_waiting || turn->row.open_runs > 0)
        return ERR_OK;
    rc = schedules_fire_waiting(turn->scheduler->db, turn->row.schedule.name,
                                turn->row.waiting_tick, &job, e);
    if (!rc)
        rc = add_job(turn, turn->row.waiting_tick, &job, e);
    turn->row.has_waiting = false;
    return rc;
}

static enum err_code fire(struct turn *turn, int64_t tick, struct err *e)
{
    struct schedule_row *row = &turn->row;
    struct uuid job = uuid_v7();
    struct schedule_run run = {.tick = tick, .outcome = "fired", .ticks = 1, .job = &job};
    bool is_new = false;
    enum err_code rc;

    if (row->open_runs > 0 && row->schedule.overlap != SCHEDULE_ALLOW) {
        bool waits = row->schedule.overlap == SCHEDULE_QUEUE && !row->has_waiting;

        run.job = NULL;
        run.outcome = waits ? "waiting" : "skipped";
        run.reason =
            row->has_waiting ? "another run waits already" : "the run before it is not finished";
    }
    rc = schedules_record(turn->scheduler->db, row->schedule.name, &run, &is_new, e);
    if (rc || !is_new)
        return rc;
    CRASH_POINT("tick.recorded");
    if (run.job)
        return add_job(turn, tick, &job, e);
    if (strcmp(run.outcome, "waiting") == 0) {
        row->has_waiting = true;
        row->waiting_tick = tick;
    }
    log_info("schedule_skipped", L_STR("schedule", row->schedule.name),
             L_STR("outcome", run.outcome), L_STR("reason", run.reason));
    return ERR_OK;
}

static enum err_code miss(struct turn *turn, const struct schedule_missed *missed, struct err *e)
{
    struct schedule_run run = {
        .tick = missed->tick,
        .outcome = "missed",
        .reason = missed->is_too_old ? "nobody was there, and it is older than catch_up"
                                     : "nobody was there, and no more than catch_up_runs run",
        .ticks = missed->ticks,
    };
    bool is_new;

    return schedules_record(turn->scheduler->db, turn->row.schedule.name, &run, &is_new, e);
}

static enum err_code carry_out(struct turn *turn, const struct schedule_plan *plan,
                               int64_t *ret_wait_us, struct err *e)
{
    enum err_code rc = fire_waiting(turn, e);
    struct schedule_advance advance = {
        .decided_to = plan->decided_to,
        .has_next = plan->has_next,
        .next_tick = plan->next,
        .next_run = plan->next + schedule_delay_s(&turn->row.schedule),
    };

    for (size_t i = 0; !rc && i < plan->missed_count; i++)
        rc = miss(turn, &plan->missed[i], e);
    for (size_t i = 0; !rc && i < plan->fire_count; i++)
        rc = fire(turn, plan->fire[i], e);
    advance.has_waiting = turn->row.has_waiting;
    advance.waiting_tick = turn->row.waiting_tick;
    if (!rc)
        rc = schedules_advance(turn->scheduler->db, turn->row.schedule.name, &advance, ret_wait_us,
                               e);
    if (!rc && plan->missed_count > 0)
        log_warn("schedule_missed", L_STR("schedule", turn->row.schedule.name),
                 L_INT("rows", plan->missed_count));
    return rc;
}

/* ERR_INVALID: the schedule itself is at fault, and not the servers. */
static enum err_code take_turn(struct turn *turn, const char *name, int64_t *ret_wait_us,
                               struct err *e)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    AUTO(mem_free) struct schedule_plan *plan = mem_alloc(sizeof *plan);
    enum err_code rc = db_begin(turn->scheduler->db, &tx, e);

    if (!rc)
        rc = leader_verify(turn->scheduler->db, e);
    if (!rc)
        rc = schedules_lock(turn->scheduler->db, name, &turn->row, e);
    if (!rc)
        rc = cron_parse(turn->row.schedule.cron, &turn->cron, e);
    if (!rc)
        rc = zone_read(turn->row.schedule.zone, turn->zone, e);
    if (rc)
        return rc;
    schedule_decide(&turn->row.schedule, &turn->cron, turn->zone, turn->row.decided_to,
                    turn->row.now, plan);
    rc = carry_out(turn, plan, ret_wait_us, e);
    CRASH_POINT("tick.before_commit");
    return rc ? rc : db_commit(&tx, e);
}

static void push(struct turn *turn)
{
    struct err e = {0};

    if (turn->pushed.count == 0)
        return;
    CRASH_POINT("tick.committed");
    log_info("schedule_fired", L_STR("schedule", turn->row.schedule.name),
             L_INT("jobs", turn->pushed.count), L_STR("job_id", turn->pushed.items[0].id.text));
    /* The rows say that they are meant for their stream: healing puts them there, too. */
    if (job_list_push(&turn->pushed, turn->scheduler->redis, &e))
        log_debug("push_failed", L_ERR(&e));
    CRASH_POINT("tick.pushed");
}

/* ret_is_locked: removed or paused just now, or being changed by somebody, perhaps for long. */
static enum err_code look_at(struct scheduler *s, const char *name, int64_t *ret_wait_us,
                             bool *ret_is_locked, struct err *e)
{
    AUTO_VALUE(turn_release)
    struct turn turn = {.scheduler = s, .zone = mem_alloc(sizeof(struct zone))};
    struct err why = {0};
    enum err_code rc = take_turn(&turn, name, ret_wait_us, &why);

    if (!rc) {
        push(&turn);
        return ERR_OK;
    }
    *ret_is_locked = rc == ERR_NOT_FOUND;
    if (*ret_is_locked) {
        *ret_wait_us = LOCKED_PAUSE_MS * US_PER_MS;
        return ERR_OK;
    }
    if (err_is_transient(rc))
        return err_set_detail(e, rc, why.detail, "%s", why.text);
    log_error("schedule_failed", L_STR("schedule", name), L_ERR(&why));
    *ret_wait_us = INT64_MAX;
    return schedules_set_problem(s->db, name, why.text, e);
}

/* ---- all of them ---- */

/* Those that somebody has locked stay the first of all that are due: the next look begins behind
 * them, until it comes to the end. */
static int64_t pass_over(struct ticks *ticks, size_t locked, bool may_be_more, int64_t wait_us)
{
    ticks->passed += locked;
    if (may_be_more)
        return 0;
    if (ticks->passed > 0 && wait_us > LOCKED_PAUSE_MS * US_PER_MS)
        wait_us = LOCKED_PAUSE_MS * US_PER_MS;
    ticks->passed = 0;
    return wait_us;
}

static enum err_code look(struct scheduler *s, struct ticks *ticks, int64_t *ret_wait_us,
                          struct err *e)
{
    AUTO(mem_free) struct schedule_due *due = mem_array(SCHEDULES_DUE_MAX, sizeof *due);
    int64_t wait_us = LOOK_PAUSE_S * US_PER_S;
    size_t count = 0;
    size_t locked = 0;
    enum err_code rc = schedules_list_due(s->db, ticks->passed, due, &count, e);

    for (size_t i = 0; !rc && i < count; i++) {
        int64_t next_us = due[i].wait_us;
        bool is_locked = false;

        if (due[i].wait_us == 0 || due[i].may_go)
            rc = look_at(s, due[i].name, &next_us, &is_locked, e);
        if (due[i].some_wait && next_us > WAKE_PAUSE_S * US_PER_S)
            next_us = WAKE_PAUSE_S * US_PER_S;
        if (next_us < wait_us)
            wait_us = next_us;
        locked += is_locked;
    }
    if (!rc)
        *ret_wait_us = pass_over(
            ticks, locked, count == SCHEDULES_DUE_MAX && due[count - 1].wait_us == 0, wait_us);
    return rc;
}

enum err_code ticks_run(struct scheduler *scheduler, struct ticks *ticks, struct err *e)
{
    int64_t wait_us = 0;
    enum err_code rc = ERR_OK;

    if (clock_mono_us() < ticks->look_at_us)
        return ERR_OK;
    if (!ticks->is_synced && ticks->file.path)
        rc = sync_file(scheduler, ticks, e);
    if (!rc)
        ticks->is_synced = true;
    if (!rc && clock_mono_us() >= ticks->upkeep_at_us)
        rc = keep_up(scheduler, ticks, e);
    if (!rc)
        rc = look(scheduler, ticks, &wait_us, e);
    ticks->looked_at_us = clock_mono_us();
    if (!rc)
        ticks->look_at_us = ticks->looked_at_us + wait_us;
    return rc;
}
