/* SPDX-License-Identifier: MIT
 *
 * Enqueueing over HTTP, as Flower does it: apply (waits for the end), async-apply and send-task
 * (need not be known), and asking for a result. The body is JSON whatever its media type says,
 * since `curl -d` says form; options are Celery's. A job that is accepted is in PostgreSQL.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "api/dashboard/dashboard.h"
#include "api/dashboard/enqueue.h"
#include "api/dashboard/flower.h"
#include "common/clock.h"
#include "common/job_json.h"
#include "common/jobs_desk.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"

enum {
    APPLY_WAIT_S = 300, /* then apply tells how far it is */
    RESULT_WAIT_MAX_S = 300,
    PAUSE_FIRST_MS = 2,
    PAUSE_MAX_MS = 200,
};

/* ---- putting it in ---- */

/* The id exists, or on_conflict is refuse and the error names the job that holds the key. */
static enum err_code refuse_conflict(struct reply *reply, const struct order *order,
                                     const struct err *problem)
{
    if (order->job.unique_key && order->job.on_conflict == JOB_CONFLICT_REFUSE &&
        text_starts(problem->text, "unique key"))
        return flower_refuse(reply, 409, "The %s", problem->text);
    return flower_refuse(reply, 409, "There is already a task '%s'", order->job.id.text);
}

/* What was enqueued; its id is "" when the reply is a refusal. */
struct enqueued {
    struct uuid id;
    bool has_key; /* a unique one: then the outcome is told */
    enum job_outcome outcome;
    int64_t wait_us; /* for its end, by apply */
};

static int64_t apply_wait_us(const struct order *order)
{
    bool is_shorter = order->has_timeout && order->timeout_us < APPLY_WAIT_S * US_PER_S;

    return is_shorter ? order->timeout_us : APPLY_WAIT_S * US_PER_S;
}

static enum err_code enqueue(struct request *req, struct reply *reply, bool must_be_known,
                             struct enqueued *ret_made, struct err *e)
{
    AUTO(json_decref) json_t *given = NULL;
    AUTO_VALUE(order_release) struct order order = {0};
    const char *name = request_param(req, 0);
    struct known_task task = {0};
    struct job_ready ready = {0};
    struct err problem = {0};
    enum err_code rc = tasks_find(thread_of(req)->db, name, &task, e);

    *ret_made = (struct enqueued){0};
    if (rc)
        return rc;
    if (must_be_known && !task.is_known)
        return flower_refuse(reply, 404, "Unknown task '%s'", name);
    if (order_read(req, &order, &given, &problem))
        return flower_refuse(reply, 400, "%s", problem.text);
    order.job.task = name;
    rc = order_place(req, &order, &task, &ready, &problem);
    if (rc == ERR_INVALID)
        return flower_refuse(reply, 400, "%s", problem.text);
    if (rc == ERR_CONFLICT)
        return refuse_conflict(reply, &order, &problem);
    if (rc) {
        *e = problem;
        return rc;
    }
    *ret_made = (struct enqueued){.id = ready.id,
                                  .has_key = order.job.unique_key != NULL,
                                  .outcome = ready.outcome,
                                  .wait_us = apply_wait_us(&order)};
    return ERR_OK;
}

static enum err_code enqueue_async(struct request *req, struct reply *reply, bool must_be_known,
                                   struct err *e)
{
    enum job_state state = JOB_PENDING;
    struct enqueued made;
    json_t *value;
    enum err_code rc = enqueue(req, reply, must_be_known, &made, e);

    if (rc || !*made.id.text)
        return rc;
    if (made.outcome == JOB_KEPT)
        rc = jobs_state_of(thread_of(req)->db, &made.id, &state, e);
    if (rc)
        return rc;
    value = json_pack("{s:s, s:s}", "task-id", made.id.text, "state", job_state_name(state));
    if (made.has_key)
        (void)json_object_set_new(value, "outcome", json_string(order_outcome_name(made.outcome)));
    return reply_json(reply, 200, value, e);
}

enum err_code flower_async_apply(struct request *req, struct reply *reply, struct err *e)
{
    return enqueue_async(req, reply, true, e);
}

enum err_code flower_send_task(struct request *req, struct reply *reply, struct err *e)
{
    return enqueue_async(req, reply, false, e);
}

/* ---- results ---- */

static void pause_ms(int64_t ms)
{
    for (struct timespec until = clock_timespec(clock_mono_us() + ms * US_PER_MS);
         clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR;)
        ;
}

/* Waits until the job is final, or the time is over, or the server stops. */
static enum err_code wait_for_end(struct request *req, const struct uuid *id, int64_t deadline_us,
                                  struct err *e)
{
    for (int64_t ms = PAUSE_FIRST_MS;; ms = ms * 3 / 2 < PAUSE_MAX_MS ? ms * 3 / 2 : PAUSE_MAX_MS) {
        int64_t left_ms = (deadline_us - clock_mono_us()) / US_PER_MS;
        enum job_state state;
        enum err_code rc = jobs_state_of(thread_of(req)->db, id, &state, e);

        if (rc || job_is_final(state) || left_ms <= 0 || server_is_stopping(req->server))
            return rc;
        pause_ms(left_ms < ms ? left_ms : ms);
    }
}

static enum err_code result_json(struct request *req, const struct uuid *id, json_t **ret_value,
                                 struct err *e)
{
    AUTO_VALUE(job_detail_release) struct job_detail detail = {0};
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
    const struct job_view *job = &detail.job;
    json_t *out;
    enum err_code rc = jobs_find(thread_of(req)->db, id, &detail, e);

    if (rc)
        return rc;
    job_shown_make(job, &shown);
    out = json_pack("{s:s, s:s}", "task-id", id->text, "state", job_state_name(job->state));
    if (job->state == JOB_SUCCESS)
        (void)json_object_set_new(out, "result",
                                  shown.result ? json_incref(shown.result) : json_null());
    else if (job_is_final(job->state))
        (void)json_object_set_new(out, "result",
                                  shown.error ? json_string(shown.error) : json_null());
    if (job->state == JOB_FAILURE)
        (void)json_object_set_new(
            out, "traceback",
            job_shown_text(&shown, detail.failure_count
                                       ? detail.failures[detail.failure_count - 1].detail
                                       : NULL));
    *ret_value = out;
    return ERR_OK;
}

/* Not every thread may wait: somebody has to answer the others. False: the reply says so. */
static bool begin_wait(struct request *req, struct reply *reply)
{
    struct dashboard *dashboard = thread_of(req)->dashboard;

    if (atomic_fetch_add(&dashboard->waiters, 1) < dashboard->conf->dashboard_threads / 2)
        return true;
    atomic_fetch_sub(&dashboard->waiters, 1);
    (void)flower_refuse(reply, 503,
                        "Too many requests wait for tasks: use async-apply and ask for the result"
                        " later, or raise TILL_DASHBOARD_THREADS");
    return false;
}

static void end_wait(struct request *req)
{
    atomic_fetch_sub(&thread_of(req)->dashboard->waiters, 1);
}

static enum err_code answer_result(struct request *req, struct reply *reply, const struct uuid *id,
                                   int64_t wait_us, struct err *e)
{
    json_t *value = NULL;
    enum err_code rc = ERR_OK;

    if (wait_us > 0)
        rc = wait_for_end(req, id, clock_mono_us() + wait_us, e);
    if (!rc)
        rc = result_json(req, id, &value, e);
    return rc ? rc : reply_json(reply, 200, value, e);
}

enum err_code flower_apply(struct request *req, struct reply *reply, struct err *e)
{
    struct enqueued made;
    enum err_code rc;

    if (!begin_wait(req, reply))
        return ERR_OK;
    rc = enqueue(req, reply, true, &made, e);
    if (!rc && *made.id.text)
        rc = answer_result(req, reply, &made.id, made.wait_us, e);
    end_wait(req);
    return rc;
}

/* False: the reply says what is wrong. */
static bool take_timeout(const struct request *req, struct reply *reply, int64_t *ret_us)
{
    AUTO(mem_free) char *text = request_query(req, "timeout");
    AUTO(json_decref) json_t *value = text ? json_string(text) : NULL;
    double seconds = 0;

    if (value && !order_number(value, &seconds)) {
        (void)flower_refuse(reply, 400, "Invalid argument '%.80s' of type 'float'", text);
        return false;
    }
    if (seconds > RESULT_WAIT_MAX_S)
        seconds = RESULT_WAIT_MAX_S;
    *ret_us = seconds > 0 ? (int64_t)(seconds * (double)US_PER_S) : 0;
    return true;
}

/* As in Celery an id that nobody knows is PENDING: its task may yet come. */
enum err_code flower_result(struct request *req, struct reply *reply, struct err *e)
{
    int64_t wait_us = 0;
    struct uuid id;
    enum err_code rc = ERR_NOT_FOUND;

    if (!take_timeout(req, reply, &wait_us))
        return ERR_OK;
    if (wait_us > 0 && !begin_wait(req, reply))
        return ERR_OK;
    if (uuid_parse(request_param(req, 0), &id))
        rc = answer_result(req, reply, &id, wait_us, e);
    if (wait_us > 0)
        end_wait(req);
    if (rc != ERR_NOT_FOUND)
        return rc;
    err_clear(e);
    return reply_json(reply, 200,
                      json_pack("{s:s, s:s}", "task-id", request_param(req, 0), "state", "PENDING"),
                      e);
}
