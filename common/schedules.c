/* SPDX-License-Identifier: MIT
 *
 * The scheduler's statements about schedules; see schedules.h.
 */
#include "common/schedules.h"

#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/statements.h"

enum {
    UPSERT,
    REMOVE,
    DUE,
    LOCK,
    CLOSE,
    COUNT_OPEN,
    RECORD,
    FIRE_WAITING,
    ADVANCE,
    PROBLEM,
    REFRESH,
    TRIM
};

static const struct db_stmt statements[] = {
    /* Another expression, zone or jitter counts from now: what it would have meant before is over.
     * A run that waits, and never will come, is told as skipped, a tick that was due as missed. */
    [UPSERT] =
        {"schedules_upsert",
         "WITH skipped AS ("
         " UPDATE schedule_runs r SET outcome = 'skipped', decided_at = now(),"
         "  reason = 'it waited, and its schedule lets none wait any more'"
         " FROM schedules o WHERE o.name = $1 AND $8 <> 'queue' AND r.schedule = o.name"
         " AND r.tick = o.waiting_tick AND r.outcome = 'waiting'"
         "), missed AS ("
         " INSERT INTO schedule_runs (schedule, tick, outcome, reason)"
         " SELECT name, next_tick, 'missed', 'its schedule was changed before it ran'"
         " FROM schedules WHERE name = $1 AND next_tick <= now()"
         " AND (cron, zone, jitter_s) IS DISTINCT FROM ($2, $3, $11::bigint)"
         " ON CONFLICT DO NOTHING"
         ") INSERT INTO schedules AS s (name, cron, zone, task, args, kwargs, queue, overlap,"
         " catch_up_s, catch_up_runs, jitter_s, source, source_hash)"
         " VALUES ($1, $2, $3, $4, coalesce($5::jsonb, '[]'), coalesce($6::jsonb, '{}'), $7, $8,"
         " $9, $10, $11, $12, $13)"
         " ON CONFLICT (name) DO UPDATE SET cron = $2, zone = $3, task = $4,"
         " args = excluded.args, kwargs = excluded.kwargs, queue = $7, overlap = $8,"
         " catch_up_s = $9, catch_up_runs = $10, jitter_s = $11, source = $12, source_hash = $13,"
         " changed_at = now(), problem = NULL, next_tick = NULL, next_run = NULL,"
         " removed_at = NULL, decided_to = CASE WHEN s.removed_at IS NOT NULL"
         "  OR (s.cron, s.zone, s.jitter_s) IS DISTINCT FROM ($2, $3, $11)"
         "  THEN greatest(s.decided_to, date_trunc('second', now())) ELSE s.decided_to END,"
         " waiting_tick = CASE WHEN $8 = 'queue' THEN s.waiting_tick END"
         " WHERE s.removed_at IS NOT NULL"
         " OR (s.cron, s.zone, s.task, s.args, s.kwargs, s.queue, s.overlap, s.catch_up_s,"
         "  s.catch_up_runs, s.jitter_s, s.source) IS DISTINCT FROM"
         "  ($2, $3, $4, excluded.args, excluded.kwargs, $7, $8, $9, $10, $11, $12)",
         13},
    /* A pause is kept, and with it the row: the schedule may come back. */
    [REMOVE] = {"schedules_remove",
                "WITH kept AS ("
                " UPDATE schedules SET removed_at = now(), problem = NULL"
                " WHERE name <> ALL ($1::text[]) AND paused_at IS NOT NULL AND removed_at IS NULL"
                " RETURNING name"
                "), removed AS ("
                " DELETE FROM schedules WHERE name <> ALL ($1::text[]) AND paused_at IS NULL"
                " RETURNING name, waiting_tick, next_tick"
                "), missed AS ("
                " INSERT INTO schedule_runs (schedule, tick, outcome, reason)"
                " SELECT name, next_tick, 'missed', 'its schedule was removed before it ran'"
                " FROM removed WHERE next_tick <= now() ON CONFLICT DO NOTHING"
                "), skipped AS ("
                " UPDATE schedule_runs r SET outcome = 'skipped', decided_at = now(),"
                "  reason = 'it waited, and its schedule was removed'"
                " FROM removed o WHERE r.schedule = o.name AND r.tick = o.waiting_tick"
                " AND r.outcome = 'waiting'"
                ") SELECT FROM removed UNION ALL SELECT FROM kept",
                1},
    /* A clock that was put back comes first, then runs that waited and may go now: those that still
     * wait, however many, keep nobody else from being looked at. */
    [DUE] =
        {"schedules_due",
         "SELECT name, CASE WHEN next_run IS NULL OR is_back THEN 0 ELSE greatest(0,"
         " (extract(epoch FROM next_run - clock_timestamp()) * 1000000)::bigint) END,"
         " may_go, some_wait FROM (SELECT *,"
         " decided_to > clock_timestamp() + interval '3 seconds' AS is_back,"
         " waiting_tick IS NOT NULL AND NOT EXISTS (SELECT FROM schedule_runs r"
         "  JOIN jobs j ON j.id = r.job_id AND j.finished_at IS NULL"
         "  WHERE r.schedule = o.name AND r.is_open) AS may_go,"
         " bool_or(waiting_tick IS NOT NULL) OVER () AS some_wait"
         " FROM schedules o WHERE paused_at IS NULL AND removed_at IS NULL AND problem IS NULL) s"
         " ORDER BY is_back DESC, may_go DESC, next_run NULLS FIRST, name LIMIT $1 OFFSET $2",
         2},
    [LOCK] = {"schedules_lock",
              "SELECT name, cron, zone, task, args, kwargs, queue, overlap, catch_up_s,"
              " catch_up_runs, jitter_s,"
              " floor(extract(epoch FROM clock_timestamp()))::bigint,"
              " floor(extract(epoch FROM decided_to))::bigint,"
              " floor(extract(epoch FROM waiting_tick))::bigint"
              " FROM schedules WHERE name = $1 AND paused_at IS NULL AND removed_at IS NULL"
              " FOR UPDATE SKIP LOCKED",
              1},
    /* A job that is not there any more was finished. That of the last run may have been brought
     * back from the dead: then the run goes on. */
    [CLOSE] = {"schedules_close_runs",
               "WITH again AS ("
               " UPDATE schedule_runs r SET is_open = true, job_state = NULL"
               " FROM (SELECT tick, job_id FROM schedule_runs WHERE schedule = $1"
               "  AND outcome = 'fired' ORDER BY tick DESC LIMIT 1) l"
               " JOIN jobs j ON j.id = l.job_id AND j.finished_at IS NULL"
               " WHERE r.schedule = $1 AND r.tick = l.tick AND NOT r.is_open"
               ") UPDATE schedule_runs r SET is_open = false, job_state = f.state"
               " FROM (SELECT o.tick, j.state FROM schedule_runs o LEFT JOIN jobs j"
               "  ON j.id = o.job_id WHERE o.schedule = $1 AND o.is_open"
               "  AND (j.id IS NULL OR j.finished_at IS NOT NULL)) f"
               " WHERE r.schedule = $1 AND r.tick = f.tick",
               1},
    [COUNT_OPEN] = {"schedules_count_open",
                    "SELECT count(*) FROM schedule_runs WHERE schedule = $1 AND is_open", 1},
    /* The primary key decides. Only a missed tick may still become something else. */
    [RECORD] = {"schedules_record",
                "INSERT INTO schedule_runs AS r (schedule, tick, outcome, reason, ticks, job_id,"
                " is_open) VALUES ($1, to_timestamp($2::bigint), $3, $4, $5, $6, $3 = 'fired')"
                " ON CONFLICT (schedule, tick) DO UPDATE SET outcome = $3, reason = $4,"
                " ticks = $5, job_id = $6, is_open = excluded.is_open, decided_at = now()"
                " WHERE r.outcome = 'missed' AND $3 <> 'missed'",
                6},
    [FIRE_WAITING] = {"schedules_fire_waiting",
                      "UPDATE schedule_runs SET outcome = 'fired', job_id = $3, is_open = true,"
                      " decided_at = now() WHERE schedule = $1"
                      " AND tick = to_timestamp($2::bigint) AND outcome = 'waiting'",
                      3},
    [ADVANCE] = {"schedules_advance",
                 "UPDATE schedules SET decided_to = to_timestamp($2::bigint),"
                 " next_tick = to_timestamp($3::bigint), next_run = to_timestamp($4::bigint),"
                 " waiting_tick = to_timestamp($5::bigint),"
                 " problem = CASE WHEN $3::bigint IS NULL THEN 'it never comes again' END"
                 " WHERE name = $1 RETURNING greatest(0,"
                 " (extract(epoch FROM next_run - clock_timestamp()) * 1000000)::bigint)",
                 5},
    [PROBLEM] = {"schedules_set_problem",
                 "UPDATE schedules SET problem = $2, next_tick = NULL, next_run = NULL"
                 " WHERE name = $1",
                 2},
    [REFRESH] = {"schedules_refresh",
                 "UPDATE schedules SET problem = NULL, next_tick = NULL, next_run = NULL"
                 " WHERE removed_at IS NULL",
                 0},
    /* A step for each schedule that has runs, not one for each run. Those that wait or whose jobs
     * go on stay: they decide what may run beside them. */
    [TRIM] = {"schedules_trim",
              "WITH RECURSIVE names AS ("
              " (SELECT schedule FROM schedule_runs ORDER BY schedule LIMIT 1)"
              " UNION ALL"
              " SELECT n.schedule FROM names s, LATERAL (SELECT schedule FROM schedule_runs"
              "  WHERE schedule > s.schedule ORDER BY schedule LIMIT 1) n"
              "), oldest AS ("
              " SELECT s.schedule, o.tick FROM names s, LATERAL (SELECT tick FROM schedule_runs"
              "  WHERE schedule = s.schedule ORDER BY tick DESC OFFSET $1 LIMIT 1) o"
              ") DELETE FROM schedule_runs r USING oldest o"
              " WHERE r.schedule = o.schedule AND r.tick <= o.tick AND r.outcome <> 'waiting'"
              " AND NOT r.is_open",
              1},
};

DB_STATEMENTS(schedules, statements);

enum { RUNS_KEPT = 20000 };

/* ---- the file ---- */

static enum err_code upsert(struct db *db, const struct schedule_file *file,
                            const struct schedule *s, int64_t *changed, struct err *e)
{
    int64_t rows = 0;
    enum err_code rc =
        db_exec(db, &statements[UPSERT],
                DB_ARGS(DB_TEXT(s->name), DB_TEXT(s->cron), DB_TEXT(s->zone), DB_TEXT(s->task),
                        DB_TEXT(s->args), DB_TEXT(s->kwargs), DB_TEXT(s->queue),
                        DB_TEXT(schedule_overlap_name(s->overlap)), DB_INT(s->catch_up_s),
                        DB_INT(s->catch_up_runs), DB_INT(s->jitter_s), DB_TEXT(file->path),
                        DB_TEXT(file->hash)),
                &rows, e);

    *changed += rc ? 0 : rows;
    return rc;
}

enum err_code schedules_sync(struct db *db, const struct schedule_file *file, int64_t *ret_changed,
                             int64_t *ret_removed, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf names;
    enum err_code rc = ERR_OK;

    buf_init(&names, SCHEDULES_MAX * (SCHEDULE_NAME_MAX + 4));
    *ret_changed = 0;
    for (size_t i = 0; !rc && i < file->count; i++) {
        db_array_add(&names, file->items[i].name);
        rc = upsert(db, file, &file->items[i], ret_changed, e);
    }
    db_array_end(&names);
    return rc ? rc : db_exec(db, &statements[REMOVE], DB_ARGS(DB_TEXT(names.data)), ret_removed, e);
}

/* ---- what is due ---- */

enum err_code schedules_list_due(struct db *db, size_t passed,
                                 struct schedule_due due[SCHEDULES_DUE_MAX], size_t *ret_count,
                                 struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[DUE],
                                DB_ARGS(DB_INT(SCHEDULES_DUE_MAX), DB_INT(passed)), &rows, e);

    if (rc)
        return rc;
    *ret_count = (size_t)db_rows(rows);
    for (int i = 0; i < db_rows(rows); i++) {
        (void)snprintf(due[i].name, sizeof due[i].name, "%s", db_text(rows, i, 0));
        due[i].wait_us = db_int(rows, i, 1);
        due[i].may_go = db_bool(rows, i, 2);
        due[i].some_wait = db_bool(rows, i, 3);
    }
    return ERR_OK;
}

void schedule_row_release(struct schedule_row *row)
{
    schedule_release(&row->schedule);
    *row = (struct schedule_row){0};
}

static char *dup_or_null(const struct db_result *rows, int col)
{
    return db_is_null(rows, 0, col) ? NULL : mem_dup(db_text(rows, 0, col));
}

static enum err_code read_row(const struct db_result *rows, struct schedule_row *row, struct err *e)
{
    enum schedule_overlap overlap = SCHEDULE_SKIP;

    if (!schedule_overlap_parse(db_text(rows, 0, 7), &overlap))
        return err_set(e, ERR_INTERNAL, "schedule \"%s\" has an unknown overlap",
                       db_text(rows, 0, 0));
    *row = (struct schedule_row){
        .schedule = {.name = mem_dup(db_text(rows, 0, 0)),
                     .cron = mem_dup(db_text(rows, 0, 1)),
                     .zone = mem_dup(db_text(rows, 0, 2)),
                     .task = mem_dup(db_text(rows, 0, 3)),
                     .args = mem_dup(db_text(rows, 0, 4)),
                     .kwargs = mem_dup(db_text(rows, 0, 5)),
                     .queue = dup_or_null(rows, 6),
                     .overlap = overlap,
                     .catch_up_s = db_int(rows, 0, 8),
                     .catch_up_runs = db_int(rows, 0, 9),
                     .jitter_s = db_int(rows, 0, 10)},
        .now = db_int(rows, 0, 11),
        .decided_to = db_int(rows, 0, 12),
        .has_waiting = !db_is_null(rows, 0, 13),
        .waiting_tick = db_int(rows, 0, 13),
    };
    return ERR_OK;
}

static enum err_code count_open(struct db *db, struct schedule_row *row, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_exec(db, &statements[CLOSE], DB_ARGS(DB_TEXT(row->schedule.name)), NULL, e);

    if (!rc)
        rc = db_query(db, &statements[COUNT_OPEN], DB_ARGS(DB_TEXT(row->schedule.name)), &rows, e);
    if (!rc)
        row->open_runs = db_int(rows, 0, 0);
    return rc;
}

enum err_code schedules_lock(struct db *db, const char *name, struct schedule_row *ret_row,
                             struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(schedule_row_release) struct schedule_row row = {0};
    enum err_code rc = db_query(db, &statements[LOCK], DB_ARGS(DB_TEXT(name)), &rows, e);

    if (!rc && db_rows(rows) == 0)
        rc = err_set(e, ERR_NOT_FOUND, "there is no schedule \"%s\" that runs", name);
    if (!rc)
        rc = read_row(rows, &row, e);
    if (!rc)
        rc = count_open(db, &row, e);
    if (rc)
        return rc;
    *ret_row = row;
    row = (struct schedule_row){0};
    return ERR_OK;
}

/* ---- deciding ---- */

enum err_code schedules_record(struct db *db, const char *name, const struct schedule_run *run,
                               bool *ret_is_new, struct err *e)
{
    int64_t rows = 0;
    enum err_code rc = db_exec(db, &statements[RECORD],
                               DB_ARGS(DB_TEXT(name), DB_INT(run->tick), DB_TEXT(run->outcome),
                                       DB_TEXT(run->reason), DB_INT(run->ticks),
                                       DB_TEXT(run->job ? run->job->text : NULL)),
                               &rows, e);

    if (!rc)
        *ret_is_new = rows > 0;
    return rc;
}

enum err_code schedules_enqueue(struct db *db, const struct schedule *schedule, const char *tick,
                                const struct uuid *job, struct job_ready *ret_ready, struct err *e)
{
    char headers[SCHEDULE_NAME_MAX + 100];

    /* Neither has a character that JSON would escape. */
    (void)snprintf(headers, sizeof headers, "{\"schedule\":\"%s\",\"tick\":\"%s\"}", schedule->name,
                   tick);
    return jobs_insert(db,
                       &(struct job_new){.id = *job,
                                         .task = schedule->task,
                                         .queue = schedule->queue,
                                         .priority = JOB_PRIORITY_NORMAL,
                                         .args = schedule->args,
                                         .kwargs = schedule->kwargs,
                                         .headers = headers},
                       ret_ready, e);
}

enum err_code schedules_fire_waiting(struct db *db, const char *name, int64_t tick,
                                     const struct uuid *job, struct err *e)
{
    int64_t rows = 0;
    enum err_code rc = db_exec(db, &statements[FIRE_WAITING],
                               DB_ARGS(DB_TEXT(name), DB_INT(tick), DB_TEXT(job->text)), &rows, e);

    if (!rc && rows != 1)
        rc = err_set(e, ERR_INTERNAL, "the run of \"%s\" that waits has no row", name);
    return rc;
}

static struct db_param int_or_null(bool has, int64_t value)
{
    return has ? DB_INT(value) : DB_NULL;
}

enum err_code schedules_advance(struct db *db, const char *name,
                                const struct schedule_advance *advance, int64_t *ret_wait_us,
                                struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[ADVANCE],
                                DB_ARGS(DB_TEXT(name), DB_INT(advance->decided_to),
                                        int_or_null(advance->has_next, advance->next_tick),
                                        int_or_null(advance->has_next, advance->next_run),
                                        int_or_null(advance->has_waiting, advance->waiting_tick)),
                                &rows, e);

    if (!rc)
        *ret_wait_us = db_rows(rows) > 0 && advance->has_next ? db_int(rows, 0, 0) : INT64_MAX;
    return rc;
}

/* ---- upkeep ---- */

enum err_code schedules_set_problem(struct db *db, const char *name, const char *problem,
                                    struct err *e)
{
    return db_exec(db, &statements[PROBLEM], DB_ARGS(DB_TEXT(name), DB_TEXT(problem)), NULL, e);
}

enum err_code schedules_refresh(struct db *db, int64_t *ret_count, struct err *e)
{
    return db_exec(db, &statements[REFRESH], DB_NO_ARGS, ret_count, e);
}

enum err_code schedules_trim(struct db *db, int64_t *ret_deleted, struct err *e)
{
    return db_exec(db, &statements[TRIM], DB_ARGS(DB_INT(RUNS_KEPT)), ret_deleted, e);
}
