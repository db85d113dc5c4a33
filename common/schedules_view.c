/* SPDX-License-Identifier: MIT
 *
 * What people see of schedules, and order; see schedules_view.h.
 */
#include "common/schedules_view.h"

#include <stdio.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/schedules.h"
#include "common/statements.h"

enum { LIST, HISTORY, PAUSE, SKIP_WAITING, RESUME, EXISTS, JITTER, FIND, RECORD_BY_HAND };

#define US(column) "coalesce((extract(epoch FROM " column ") * 1000000)::bigint, 0)"
#define TIMES_OF_SCHEDULE                                                                          \
    US("s.paused_at") ", " US("s.next_tick") ", " US("s.next_run") ", " US("s.waiting_tick")
#define TIMES_OF_RUN US("r.tick") ", " US("r.decided_at")
/* In the file, or not any more but paused, which is kept. Others nobody has. */
#define IS_THERE "(s.removed_at IS NULL OR s.paused_at IS NOT NULL)"
#define FINISHED US("j.finished_at")

static const struct db_stmt statements[] = {
    [LIST] = {"schedules_list",
              "SELECT s.name, s.cron, s.zone, s.task, s.args, s.kwargs, s.queue, s.overlap,"
              " s.catch_up_s, s.catch_up_runs, s.jitter_s, s.source, s.problem, s.paused_by,"
              " " TIMES_OF_SCHEDULE ", " TIMES_OF_RUN
              ", r.job_id, coalesce(j.state, r.job_state), " US(
                  "s.removed_at") " FROM schedules s LEFT JOIN LATERAL ("
                                  "  SELECT tick, decided_at, job_id, job_state FROM schedule_runs"
                                  "  WHERE schedule = s.name AND outcome = 'fired' ORDER BY tick "
                                  "DESC LIMIT 1) r"
                                  " ON true LEFT JOIN jobs j ON j.id = r.job_id"
                                  " WHERE ($1::text IS NULL OR s.name = $1) AND " IS_THERE
                                  " ORDER BY s.name",
              1},
    [HISTORY] =
        {"schedules_history",
         "SELECT " TIMES_OF_RUN ", r.outcome, r.reason, r.ticks, r.by_hand, r.job_id,"
         " coalesce(j.state, r.job_state), " FINISHED
         " FROM schedule_runs r LEFT JOIN jobs j ON j.id = r.job_id"
         " WHERE r.schedule = $1 AND ($2::bigint = 0"
         "  OR r.tick < to_timestamp($2::bigint / 1000000.0)) ORDER BY r.tick DESC LIMIT $3",
         3},
    [PAUSE] = {"schedules_pause",
               "UPDATE schedules SET paused_at = now(), paused_by = $2, waiting_tick = NULL,"
               " next_tick = NULL, next_run = NULL WHERE name = $1 AND paused_at IS NULL",
               2},
    [SKIP_WAITING] = {"schedules_skip_waiting",
                      "UPDATE schedule_runs SET outcome = 'skipped', reason = 'paused'"
                      " WHERE schedule = $1 AND outcome = 'waiting'",
                      1},
    /* Ticks whose runs would have come by now count as decided: $2 is how much later than its tick
     * a run comes. */
    [RESUME] = {"schedules_resume",
                "UPDATE schedules SET paused_at = NULL, paused_by = NULL, next_tick = NULL,"
                " next_run = NULL, decided_to = greatest(decided_to,"
                " date_trunc('second', now()) - $2::bigint * interval '1 second')"
                " WHERE name = $1 AND paused_at IS NOT NULL",
                2},
    [EXISTS] = {"schedules_exists",
                "SELECT EXISTS (SELECT FROM schedules s WHERE name = $1 AND " IS_THERE ")", 1},
    [JITTER] = {"schedules_jitter",
                "SELECT jitter_s FROM schedules s WHERE name = $1 AND " IS_THERE, 1},
    [FIND] = {"schedules_find",
              "SELECT name, task, args, kwargs, queue FROM schedules WHERE name = $1"
              " AND removed_at IS NULL FOR SHARE",
              1},
    /* Planned times are whole seconds, so this is none. */
    [RECORD_BY_HAND] =
        {"schedules_record_by_hand",
         "INSERT INTO schedule_runs (schedule, tick, outcome, reason, by_hand,"
         " job_id, is_open) SELECT $1, CASE WHEN date_trunc('second', t) = t"
         "  THEN t + interval '1 microsecond' ELSE t END, 'fired', $2, true, $3, true"
         " FROM clock_timestamp() t RETURNING " US("tick"),
         3},
};

DB_STATEMENTS(schedules_view, statements);

static char *dup_or_null(const struct db_result *rows, int row, int col)
{
    return db_is_null(rows, row, col) ? NULL : mem_dup(db_text(rows, row, col));
}

/* ---- looking ---- */

void schedule_views_release(struct schedule_views *views)
{
    for (size_t i = 0; i < views->count; i++) {
        struct schedule_view *view = &views->items[i];

        schedule_release(&view->schedule);
        mem_free(view->source);
        mem_free(view->problem);
        mem_free(view->paused_by);
        mem_free(view->last_job);
        mem_free(view->last_state);
    }
    mem_free(views->items);
    *views = (struct schedule_views){0};
}

static void read_view(const struct db_result *rows, int row, struct schedule_view *view)
{
    *view = (struct schedule_view){
        .schedule = {.name = mem_dup(db_text(rows, row, 0)),
                     .cron = mem_dup(db_text(rows, row, 1)),
                     .zone = mem_dup(db_text(rows, row, 2)),
                     .task = mem_dup(db_text(rows, row, 3)),
                     .args = mem_dup(db_text(rows, row, 4)),
                     .kwargs = mem_dup(db_text(rows, row, 5)),
                     .queue = dup_or_null(rows, row, 6),
                     .catch_up_s = db_int(rows, row, 8),
                     .catch_up_runs = db_int(rows, row, 9),
                     .jitter_s = db_int(rows, row, 10)},
        .source = mem_dup(db_text(rows, row, 11)),
        .problem = dup_or_null(rows, row, 12),
        .paused_by = dup_or_null(rows, row, 13),
        .paused_us = db_int(rows, row, 14),
        .next_tick_us = db_int(rows, row, 15),
        .next_run_us = db_int(rows, row, 16),
        .waiting_tick_us = db_int(rows, row, 17),
        .last_tick_us = db_int(rows, row, 18),
        .last_run_us = db_int(rows, row, 19),
        .last_job = dup_or_null(rows, row, 20),
        .last_state = dup_or_null(rows, row, 21),
        .removed_us = db_int(rows, row, 22),
    };
    (void)schedule_overlap_parse(db_text(rows, row, 7), &view->schedule.overlap);
}

enum err_code schedules_list(struct db *db, const char *name, struct schedule_views *ret_views,
                             struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct schedule_views views = {0};
    enum err_code rc = db_query(db, &statements[LIST], DB_ARGS(DB_TEXT(name)), &rows, e);

    if (rc)
        return rc;
    views.count = (size_t)db_rows(rows);
    views.items = mem_array(views.count + 1, sizeof views.items[0]);
    for (size_t i = 0; i < views.count; i++)
        read_view(rows, (int)i, &views.items[i]);
    *ret_views = views;
    return ERR_OK;
}

void schedule_events_release(struct schedule_events *events)
{
    for (size_t i = 0; i < events->count; i++) {
        mem_free(events->items[i].outcome);
        mem_free(events->items[i].reason);
        mem_free(events->items[i].job);
        mem_free(events->items[i].state);
    }
    mem_free(events->items);
    *events = (struct schedule_events){0};
}

enum err_code schedules_history(struct db *db, const char *name, int64_t before_us, int limit,
                                struct schedule_events *ret_events, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct schedule_events events = {0};
    enum err_code rc = db_query(db, &statements[HISTORY],
                                DB_ARGS(DB_TEXT(name), DB_INT(before_us), DB_INT(limit)), &rows, e);

    if (rc)
        return rc;
    events.count = (size_t)db_rows(rows);
    events.items = mem_array(events.count + 1, sizeof events.items[0]);
    for (int i = 0; i < db_rows(rows); i++)
        events.items[i] = (struct schedule_event){
            .tick_us = db_int(rows, i, 0),
            .decided_us = db_int(rows, i, 1),
            .outcome = mem_dup(db_text(rows, i, 2)),
            .reason = dup_or_null(rows, i, 3),
            .ticks = db_int(rows, i, 4),
            .by_hand = db_bool(rows, i, 5),
            .job = dup_or_null(rows, i, 6),
            .state = dup_or_null(rows, i, 7),
            .finished_us = db_int(rows, i, 8),
        };
    *ret_events = events;
    return ERR_OK;
}

/* ---- ordering ---- */

static enum err_code need_schedule(struct db *db, const char *name, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[EXISTS], DB_ARGS(DB_TEXT(name)), &rows, e);

    if (!rc && !db_bool(rows, 0, 0))
        rc = err_set(e, ERR_NOT_FOUND, "there is no schedule \"%s\"", name);
    return rc;
}

enum err_code schedules_pause(struct db *db, const char *name, const char *by, bool *ret_changed,
                              struct err *e)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    int64_t rows = 0;
    enum err_code rc = db_in_transaction(db) ? ERR_OK : db_begin(db, &tx, e);

    if (!rc)
        rc = need_schedule(db, name, e);
    if (!rc)
        rc = db_exec(db, &statements[PAUSE], DB_ARGS(DB_TEXT(name), DB_TEXT(by)), &rows, e);
    if (!rc && rows > 0)
        rc = db_exec(db, &statements[SKIP_WAITING], DB_ARGS(DB_TEXT(name)), NULL, e);
    if (!rc)
        *ret_changed = rows > 0;
    return rc || !tx.db ? rc : db_commit(&tx, e);
}

/* How much later than its tick a run comes. */
static enum err_code read_delay(struct db *db, const char *name, int64_t *ret_s, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(schedule_release) struct schedule schedule = {0};
    enum err_code rc = db_query(db, &statements[JITTER], DB_ARGS(DB_TEXT(name)), &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no schedule \"%s\"", name);
    schedule.name = mem_dup(name);
    schedule.jitter_s = db_int(rows, 0, 0);
    *ret_s = schedule_delay_s(&schedule);
    return ERR_OK;
}

enum err_code schedules_resume(struct db *db, const char *name, bool *ret_changed, struct err *e)
{
    int64_t delay_s = 0;
    int64_t rows = 0;
    enum err_code rc = read_delay(db, name, &delay_s, e);

    if (!rc)
        rc = db_exec(db, &statements[RESUME], DB_ARGS(DB_TEXT(name), DB_INT(delay_s)), &rows, e);
    if (!rc)
        *ret_changed = rows > 0;
    return rc;
}

static enum err_code enqueue_now(struct db *db, const struct db_result *row, const char *by,
                                 struct job_ready *ret_ready, struct err *e)
{
    AUTO_VALUE(schedule_release)
    struct schedule schedule = {
        .name = mem_dup(db_text(row, 0, 0)),
        .task = mem_dup(db_text(row, 0, 1)),
        .args = mem_dup(db_text(row, 0, 2)),
        .kwargs = mem_dup(db_text(row, 0, 3)),
        .queue = dup_or_null(row, 0, 4),
    };
    AUTO(db_result_free) struct db_result *made = NULL;
    struct uuid job = uuid_v7();
    char tick[CLOCK_TEXT_SIZE];
    char reason[100];
    enum err_code rc;

    if (!text_format(reason, sizeof reason, "by %s", by ? by : "hand"))
        reason[0] = '\0';
    rc = db_query(db, &statements[RECORD_BY_HAND],
                  DB_ARGS(DB_TEXT(schedule.name), DB_TEXT(reason), DB_TEXT(job.text)), &made, e);
    if (rc)
        return rc;
    /* PostgreSQL's clock, as with all others: the report of a day goes by it. */
    clock_format(db_int(made, 0, 0), tick);
    return schedules_enqueue(db, &schedule, tick, &job, ret_ready, e);
}

enum err_code schedules_run_now(struct db *db, const char *name, const char *by,
                                struct job_ready *ret_ready, struct err *e)
{
    AUTO(db_result_free) struct db_result *row = NULL;
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    enum err_code rc = db_in_transaction(db) ? ERR_OK : db_begin(db, &tx, e);

    if (!rc)
        rc = db_query(db, &statements[FIND], DB_ARGS(DB_TEXT(name)), &row, e);
    if (!rc && db_rows(row) == 0)
        rc = err_set(e, ERR_NOT_FOUND, "there is no schedule \"%s\"", name);
    if (!rc)
        rc = enqueue_now(db, row, by, ret_ready, e);
    return rc || !tx.db ? rc : db_commit(&tx, e);
}
