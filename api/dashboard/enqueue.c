/* SPDX-License-Identifier: MIT
 *
 * Putting in what a request to enqueue says, and the form of the pages, which is told the field
 * that is wrong. Its body is that of Flower's paths (flower_options.h), and so are its checks.
 */
#include "api/dashboard/enqueue.h"

#include "api/dashboard/act.h"
#include "api/dashboard/dashboard.h"
#include "common/crashpoint.h"
#include "common/job_list.h"
#include "common/jobs_heal.h"
#include "common/json.h"
#include "common/log.h"
#include "common/text.h"

const char *order_outcome_name(enum job_outcome outcome)
{
    static const char *const names[] = {
        [JOB_ADDED] = "added", [JOB_KEPT] = "kept", [JOB_REPLACED] = "replaced"};

    return names[outcome];
}

/* ret_again: others have ended the transaction (a deadlock, a serialization failure). */
static enum err_code insert_once(struct request *req, const struct order *order,
                                 struct job_ready *ret_ready, bool *ret_again, struct err *e)
{
    AUTO_VALUE(act_release) struct act act = {0};
    enum err_code rc = act_begin(&act, req, "task.enqueue", order->job.id.text, e);

    if (!rc)
        rc = jobs_insert(thread_of(req)->db, &order->job, ret_ready, e);
    *ret_again = rc && db_was_undone(thread_of(req)->db);
    if (*ret_again)
        db_rollback(&act.tx);
    if (rc)
        return rc;
    act.target = ret_ready->id.text; /* another's when that one holds the unique key */
    return act_commit(&act, ret_ready->outcome == JOB_KEPT ? ACT_NOTHING : ACT_DONE,
                      json_pack("{s:s}", "task", order->job.task), e);
}

static enum err_code insert(struct request *req, struct order *order, struct job_ready *ret_ready,
                            struct err *e)
{
    enum err_code rc = ERR_OK;
    bool again = true;

    if (!*order->job.id.text)
        order->job.id = uuid_v7();
    for (int tries = 0; again && tries < DB_TRIES; tries++) {
        err_clear(e);
        rc = insert_once(req, order, ret_ready, &again, e);
    }
    return rc;
}

/* Without Redis the scheduler delivers it. */
static void push(struct request *req, const struct job_ready *ready)
{
    struct job_ready one = *ready;
    const struct job_list list = {&one, 1};
    struct err e = {0};

    CRASH_POINT("dashboard.applied");
    if (ready->is_ready && job_list_push(&list, thread_of(req)->redis, &e))
        log_warn("push_failed", L_ERR(&e));
}

/* Times of jobs are judged by PostgreSQL's clock: seconds from now are from its now. */
static enum err_code use_servers_clock(struct request *req, struct order *order, struct err *e)
{
    int64_t now_us = 0;
    enum err_code rc = ERR_OK;

    if (!order_needs_now(order))
        return ERR_OK;
    rc = jobs_server_time(thread_of(req)->db, &now_us, e);
    if (!rc)
        order_begin_at(order, now_us);
    return rc;
}

/* A task's attempts, less those that count as made. */
static void count_retries(struct order *order, const struct known_task *task)
{
    int max = order->job.max_attempts ? order->job.max_attempts
              : task->is_known        ? task->max_attempts
                                      : JOB_DEFAULT_ATTEMPTS;

    if (order->retries > 0)
        order->job.max_attempts = max > order->retries ? max - order->retries : 1;
}

enum err_code order_place(struct request *req, struct order *order, const struct known_task *task,
                          struct job_ready *ret_ready, struct err *e)
{
    enum err_code rc;

    count_retries(order, task);
    rc = use_servers_clock(req, order, e);
    if (!rc)
        rc = insert(req, order, ret_ready, e);
    if (!rc)
        push(req, ret_ready);
    return rc;
}

/* ---- the form ---- */

/* The first member for which jobs_check() refuses the job; NULL: it is not one alone. */
static const char *wrong_member(const struct job_new *job)
{
    struct job_new part = {.task = job->task, .priority = job->priority};
    const struct {
        const char *name;
        const char **text;
        const char *value;
    } texts[] = {
        {"queue", &part.queue, job->queue},
        {"args", &part.args, job->args},
        {"kwargs", &part.kwargs, job->kwargs},
        {"headers", &part.headers, job->headers},
        {"limit_key", &part.limit_key, job->limit_key},
        {"unique_key", &part.unique_key, job->unique_key},
    };

    if (jobs_check(&part, NULL))
        return "task";
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        *texts[i].text = texts[i].value;
        if (jobs_check(&part, NULL))
            return texts[i].name;
    }
    part.scheduled_us = job->scheduled_us;
    if (jobs_check(&part, NULL))
        return "eta";
    part.expires_us = job->expires_us;
    return jobs_check(&part, NULL) ? "expires" : NULL;
}

/* What stands in Flower's words begins as Celery says it; here the field tells that. */
static enum err_code answer_wrong(struct reply *reply, int status, const char *field,
                                  const struct err *problem, struct err *e)
{
    static const char prefix[] = "Invalid option: ";
    const char *text = problem->text;

    if (text_starts(text, prefix))
        text += sizeof prefix - 1;
    return reply_json(reply, status, json_pack("{s:s, s:s?}", "detail", text, "field", field), e);
}

static enum err_code answer_conflict(struct reply *reply, const struct order *order,
                                     const struct err *problem, struct err *e)
{
    bool is_key = order->job.unique_key && order->job.on_conflict == JOB_CONFLICT_REFUSE &&
                  text_starts(problem->text, "unique key");

    return answer_wrong(reply, 409, is_key ? "unique_key" : "task_id", problem, e);
}

enum err_code task_enqueue_form(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *given = NULL;
    AUTO_VALUE(order_release) struct order order = {0};
    const char *name = request_param(req, 0);
    struct known_task task = {0};
    struct job_ready ready = {0};
    struct err problem = {0};
    enum err_code rc;

    if (!request_has_type(req, "application/json"))
        return err_set(e, ERR_INVALID, "the body is JSON: send Content-Type: application/json");
    rc = tasks_find(thread_of(req)->db, name, &task, e);
    if (rc)
        return rc;
    if (!task.is_known) {
        (void)err_set(&problem, ERR_INVALID,
                      "no worker has told of such a task: start one that knows it first");
        return answer_wrong(reply, 400, "task", &problem, e);
    }
    if (order_read(req, &order, &given, &problem))
        return answer_wrong(reply, 400, order.wrong, &problem, e);
    if (json_is_array(json_object_get(given, "kwargs"))) { /* which scripts may send, empty */
        (void)err_set(&problem, ERR_INVALID, "kwargs must be an object");
        return answer_wrong(reply, 400, "kwargs", &problem, e);
    }
    order.job.task = name;
    rc = order_place(req, &order, &task, &ready, &problem);
    if (rc == ERR_INVALID)
        return answer_wrong(reply, 400, wrong_member(&order.job), &problem, e);
    if (rc == ERR_CONFLICT)
        return answer_conflict(reply, &order, &problem, e);
    if (rc) {
        *e = problem;
        return rc;
    }
    return reply_json(
        reply, ready.outcome == JOB_ADDED ? 201 : 200,
        json_pack("{s:s, s:s}", "id", ready.id.text, "outcome", order_outcome_name(ready.outcome)),
        e);
}
