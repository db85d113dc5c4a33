/* SPDX-License-Identifier: MIT
 *
 * Schedules: what comes when, in words; pausing, resuming, running one now; the history of one.
 */
#include "api/dashboard/act.h"
#include "api/dashboard/dashboard.h"
#include "api/dashboard/shared.h"
#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/cron.h"
#include "common/job_json.h"
#include "common/job_list.h"
#include "common/log.h"
#include "common/schedules_view.h"
#include "common/task_secrets.h"

enum { HISTORY = 50 };

/* "at 07:30 on weekdays"; null for what is no expression any more. */
static json_t *words_json(const char *expression)
{
    char words[CRON_DESCRIPTION_SIZE];
    struct cron cron;

    if (cron_parse(expression, &cron, NULL))
        return json_null();
    cron_describe(&cron, words);
    return json_string(words);
}

static json_t *value_or_null(json_t *value) { return value ? json_incref(value) : json_null(); }

/* NULL: its secrets could not be read. */
static json_t *schedule_json(struct request *req, const struct schedule_view *view, struct err *e)
{
    const struct schedule *schedule = &view->schedule;
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};

    if (task_shown_make(thread_of(req)->db, schedule->task, schedule->args, schedule->kwargs,
                        &shown, e))
        return NULL;
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:s, s:o, s:o, s:s?, s:s, s:I, s:I, s:I, s:s?, s:s?, s:o, s:o, s:o,"
        " s:o, s:o, s:s?, s:s?, s:o}",
        "name", schedule->name, "cron", schedule->cron, "zone", schedule->zone, "words",
        words_json(schedule->cron), "task", schedule->task, "args", value_or_null(shown.args),
        "kwargs", value_or_null(shown.kwargs), "queue", schedule->queue, "overlap",
        schedule_overlap_name(schedule->overlap), "jitter_s", (json_int_t)schedule->jitter_s,
        "catch_up_s", (json_int_t)schedule->catch_up_s, "catch_up_runs",
        (json_int_t)schedule->catch_up_runs, "problem", view->problem, "paused_by", view->paused_by,
        "paused_at", job_time_json(view->paused_us), "next_at", job_time_json(view->next_tick_us),
        "next_run_at", job_time_json(view->next_run_us), "last_at",
        job_time_json(view->last_tick_us), "last_run_at", job_time_json(view->last_run_us),
        "last_job", view->last_job, "last_state", view->last_state, "removed_at",
        job_time_json(view->removed_us));
}

static enum err_code err_or_nomem(struct err *e)
{
    return e->code ? e->code : err_set(e, ERR_NOMEM, "out of memory");
}

static enum err_code make_schedules(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(schedule_views_release) struct schedule_views views = {0};
    AUTO(json_decref) json_t *list = json_array();
    enum err_code rc = schedules_list(thread_of(req)->db, NULL, &views, e);

    if (rc)
        return rc;
    for (size_t i = 0; i < views.count; i++) {
        json_t *one = schedule_json(req, &views.items[i], e);

        if (!one || json_array_append_new(list, one))
            return err_or_nomem(e);
    }
    return reply_json(reply, 200, json_pack("{s:O}", "schedules", list), e);
}

enum err_code schedules_show(struct request *req, struct reply *reply, struct err *e)
{
    return shared_get(req, make_schedules, reply, e);
}

enum err_code schedule_show(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(schedule_views_release) struct schedule_views views = {0};
    AUTO_VALUE(schedule_events_release) struct schedule_events events = {0};
    AUTO(json_decref) json_t *schedule = NULL;
    AUTO(json_decref) json_t *runs = json_array();
    struct db *db = thread_of(req)->db;
    const char *name = request_param(req, 0);
    enum err_code rc = schedules_list(db, name, &views, e);

    if (!rc && views.count == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no such schedule");
    if (!rc)
        rc = schedules_history(db, name, 0, HISTORY, &events, e);
    if (rc)
        return rc;
    schedule = schedule_json(req, &views.items[0], e);
    if (!schedule)
        return err_or_nomem(e);
    for (size_t i = 0; i < events.count; i++) {
        const struct schedule_event *event = &events.items[i];

        (void)json_array_append_new(
            runs,
            json_pack("{s:o, s:o, s:s, s:s?, s:I, s:b, s:s?, s:s?, s:o}", "tick_at",
                      job_time_json(event->tick_us), "decided_at", job_time_json(event->decided_us),
                      "outcome", event->outcome, "reason", event->reason, "ticks",
                      (json_int_t)event->ticks, "by_hand", event->by_hand, "job", event->job,
                      "state", event->state, "finished_at", job_time_json(event->finished_us)));
    }
    return reply_json(reply, 200, json_pack("{s:O, s:O}", "schedule", schedule, "runs", runs), e);
}

static enum err_code set_paused(struct request *req, struct reply *reply, bool paused,
                                struct err *e)
{
    AUTO_VALUE(act_release) struct act act = {0};
    const char *name = request_param(req, 0);
    struct db *db = thread_of(req)->db;
    bool changed = false;
    enum err_code rc = act_begin(&act, req, paused ? "schedule.pause" : "schedule.resume", name, e);

    if (!rc)
        rc = paused ? schedules_pause(db, name, req->user.name, &changed, e)
                    : schedules_resume(db, name, &changed, e);
    if (!rc)
        rc = act_commit(&act, changed ? ACT_DONE : ACT_NOTHING, NULL, e);
    if (rc)
        return rc;
    return reply_json(reply, 200, json_pack("{s:b, s:b}", "paused", paused, "changed", changed), e);
}

enum err_code schedule_pause(struct request *req, struct reply *reply, struct err *e)
{
    return set_paused(req, reply, true, e);
}

enum err_code schedule_resume(struct request *req, struct reply *reply, struct err *e)
{
    return set_paused(req, reply, false, e);
}

enum err_code schedule_run(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(act_release) struct act act = {0};
    const char *name = request_param(req, 0);
    struct job_ready ready = {0};
    struct err problem = {0};
    enum err_code rc = act_begin(&act, req, "schedule.run", name, e);

    if (!rc)
        rc = schedules_run_now(thread_of(req)->db, name, req->user.name, &ready, e);
    if (!rc)
        rc = act_commit(&act, ACT_DONE, json_pack("{s:s}", "task", ready.id.text), e);
    if (rc)
        return rc;
    CRASH_POINT("dashboard.schedule_run");
    /* Without Redis the scheduler delivers it. */
    if (ready.is_ready &&
        job_list_push(&(struct job_list){&ready, 1}, thread_of(req)->redis, &problem))
        log_warn("push_failed", L_ERR(&problem));
    return reply_json(reply, 201, json_pack("{s:s}", "id", ready.id.text), e);
}
