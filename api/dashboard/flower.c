/* SPDX-License-Identifier: MIT
 *
 * Flower's HTTP API: its paths, parameters and shapes, so that scripts written for it go on
 * working. Where Celery has something that Till has not (exchange, clock, ...) the member is there
 * and null. `received` is when the task was enqueued; args and kwargs are JSON texts.
 */
#include <stdio.h>
#include <string.h>

#include "api/dashboard/dashboard.h"
#include "api/dashboard/flower.h"
#include "common/clock.h"
#include "common/job_json.h"
#include "common/jobs_desk.h"
#include "common/jobs_view.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"

/* ---- one task ---- */

static json_t *epoch(int64_t us)
{
    return us ? json_real((double)us / (double)US_PER_S) : json_null();
}

static json_t *epoch_if(bool holds, int64_t us) { return holds ? epoch(us) : json_null(); }

/* A redacted value as JSON text: what Flower shows as Python's repr(). */
static json_t *value_text(const char *text, int64_t bytes)
{
    AUTO(json_decref) json_t *value = NULL;
    AUTO(mem_free) char *shown = NULL;

    if (!text && bytes == 0)
        return json_null();
    if (!text)
        return json_sprintf("... (%lld bytes)", (long long)bytes);
    value = job_value_json(text);
    shown = json_write(value);
    return shown ? json_string(shown) : json_null();
}

json_t *flower_task_json(const struct job_view *job, const char *traceback)
{
    static const char *const absent[] = {"sent", "rejected", "exchange", "clock",    "client",
                                         "root", "root_id",  "parent",   "parent_id"};
    double runtime = 0;
    bool has_runtime = job->state == JOB_SUCCESS && job_runtime(job, &runtime);
    bool failed = job->state == JOB_FAILURE;
    bool waits_for_time =
        !job->enqueued_us && (job->state == JOB_PENDING || job->state == JOB_RETRY);
    char eta[CLOCK_TEXT_SIZE] = "";
    json_t *out;

    if (waits_for_time)
        clock_format(job->scheduled_us, eta);
    out = json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s?, s:o, s:i, s:s?,"
        " s:o, s:o, s:o, s:s}",
        "uuid", job->id.text, "name", job->task, "state", job_state_name(job->state), "args",
        value_text(job->args, job->args_bytes), "kwargs",
        value_text(job->kwargs, job->kwargs_bytes), "result",
        value_text(job->result, job->result_bytes), "received", epoch(job->created_us), "started",
        epoch(job->started_us), "succeeded", epoch_if(job->state == JOB_SUCCESS, job->finished_us),
        "failed", epoch_if(failed, job->finished_us), "retried",
        epoch_if(job->state == JOB_RETRY, job->failed_us), "revoked",
        epoch_if(job->state == JOB_REVOKED, job->finished_us), "runtime",
        has_runtime ? json_real(runtime) : json_null(), "eta", waits_for_time ? eta : NULL,
        "expires", job_time_json(job->expires_us), "retries",
        job->attempt > 1 ? job->attempt - 1 : 0, "worker", job->worker, "exception",
        job_text_json(job->error), "traceback", job_text_json(traceback), "timestamp",
        epoch(job->changed_us), "routing_key", job->queue);

    for (size_t i = 0; out && i < COUNT_OF(absent); i++)
        (void)json_object_set_new(out, absent[i], json_null());
    if (out)
        (void)json_object_set_new(out, "children", json_array());
    return out;
}

/* ---- GET /api/tasks ---- */

static enum err_code take_number(const struct request *req, const char *name, int64_t max,
                                 int *value, struct err *e)
{
    AUTO(mem_free) char *text = request_query(req, name);
    int64_t number;

    if (!text || !*text)
        return ERR_OK;
    if (!text_to_int(text, INT64_MIN, INT64_MAX, &number))
        return err_set(e, ERR_INVALID, "%s is a number", name);
    if (number > max)
        return err_set(e, ERR_INVALID, "%s is at most %lld; /api/v1/tasks has cursors", name,
                       (long long)max);
    *value = number < 0 ? 0 : (int)number;
    return ERR_OK;
}

/* "%Y-%m-%d %H:%M", taken as UTC; RFC 3339 is understood, too. */
static enum err_code take_time(const struct request *req, const char *name, int64_t *value,
                               struct err *e)
{
    AUTO(mem_free) char *text = request_query(req, name);

    if (!text || !*text || flower_time(text, value))
        return ERR_OK;
    return err_set(e, ERR_INVALID, "%s has the form YYYY-MM-DD HH:MM", name);
}

static enum err_code take_order(const struct request *req, enum jobs_order *order, struct err *e)
{
    static const struct {
        const char *name;
        enum jobs_order order;
    } orders[] = {
        {"name", JOBS_BY_NAME},          {"-name", JOBS_BY_NAME_DOWN},
        {"state", JOBS_BY_STATE},        {"-state", JOBS_BY_STATE_DOWN},
        {"received", JOBS_OLDEST_FIRST}, {"-received", JOBS_NEWEST_FIRST},
        {"started", JOBS_BY_STARTED},    {"-started", JOBS_BY_STARTED_DOWN},
    };
    AUTO(mem_free) char *text = request_query(req, "sort_by");

    if (!text || !*text)
        return ERR_OK;
    for (size_t i = 0; i < COUNT_OF(orders); i++) {
        if (strcmp(text, orders[i].name) == 0) {
            *order = orders[i].order;
            return ERR_OK;
        }
    }
    return err_set(e, ERR_INVALID,
                   "sort_by is name, state, received or started, with - to turn it"
                   " round");
}

struct texts {
    char *task;
    char *worker;
    char *state;
    char *search;
};

static void texts_release(struct texts *texts)
{
    mem_free(texts->task);
    mem_free(texts->worker);
    mem_free(texts->state);
    mem_free(texts->search);
}

/* What Flower's own page sends for no choice. */
static const char *some(const char *text)
{
    return text && *text && strcmp(text, "All") != 0 ? text : NULL;
}

static enum err_code map_json(const struct jobs_page *page, json_t **ret_value, struct err *e)
{
    AUTO(json_decref) json_t *map = json_object();

    for (size_t i = 0; i < page->count; i++)
        if (json_object_set_new(map, page->items[i].id.text,
                                flower_task_json(&page->items[i], NULL)) < 0)
            return err_set(e, ERR_NOMEM, "a job does not fit into memory");
    *ret_value = TAKE(map);
    return ERR_OK;
}

enum err_code flower_tasks(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(jobs_page_release) struct jobs_page page = {0};
    AUTO_VALUE(texts_release)
    struct texts texts = {request_query(req, "taskname"), request_query(req, "workername"),
                          request_query(req, "state"), request_query(req, "search")};
    AUTO_VALUE(job_search_release) struct job_search search = {0};
    struct jobs_filter filter = {
        .state = JOBS_ANY_STATE, .task = some(texts.task), .worker = some(texts.worker)};
    struct err problem = {0};
    enum job_state state;
    json_t *map = NULL;
    enum err_code rc = take_number(req, "offset", JOBS_WINDOW - 1, &filter.offset, e);

    if (!rc)
        rc = take_number(req, "limit", INT32_MAX, &filter.limit, e);
    if (!rc)
        rc = take_time(req, "received_start", &filter.created_from_us, e);
    if (!rc)
        rc = take_time(req, "received_end", &filter.created_to_us, e);
    if (!rc)
        rc = take_order(req, &filter.order, e);
    if (rc)
        return rc;
    if (job_search_take(texts.search, &search, &filter, &problem))
        return flower_refuse(reply, 400, "%s", problem.text);
    if (filter.limit < 1 || filter.limit > JOBS_LIMIT_MAX)
        filter.limit = JOBS_LIMIT_MAX;
    if (some(texts.state)) {
        /* RECEIVED and others of Celery's: no task is ever in them. */
        if (!job_state_parse(texts.state, &state))
            return reply_json(reply, 200, json_object(), e);
        filter.state = (int)state;
    }
    rc = jobs_list(thread_of(req)->db, &filter, &page, e);
    if (!rc)
        rc = map_json(&page, &map, e);
    return rc ? rc : reply_json(reply, 200, map, e);
}

/* ---- the others ---- */

static enum err_code add_lineage(struct request *req, const struct uuid *id, json_t *value,
                                 struct err *e)
{
    AUTO(json_decref) json_t *found = json_object();
    enum err_code rc = replay_describe(thread_of(req)->db, id, found, e);

    if (rc)
        return rc;
    (void)json_object_set(value, "parent_id", json_object_get(found, "parent_id"));
    (void)json_object_set(value, "root_id", json_object_get(found, "root_id"));
    (void)json_object_set(value, "parent", json_object_get(found, "parent_id"));
    (void)json_object_set(value, "root", json_object_get(found, "root_id"));
    (void)json_object_set(value, "children", json_object_get(found, "replays"));
    return ERR_OK;
}

enum err_code flower_task_info(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *value = NULL;
    AUTO_VALUE(job_detail_release) struct job_detail detail = {0};
    const char *traceback = NULL;
    struct uuid id;
    enum err_code rc;

    if (!uuid_parse(request_param(req, 0), &id))
        return flower_refuse(reply, 404, "Unknown task '%s'", request_param(req, 0));
    rc = jobs_find(thread_of(req)->db, &id, &detail, e);
    if (rc == ERR_NOT_FOUND)
        return flower_refuse(reply, 404, "Unknown task '%s'", id.text);
    if (rc)
        return rc;
    if (detail.failure_count > 0 && detail.job.error)
        traceback = detail.failures[detail.failure_count - 1].detail;
    value = flower_task_json(&detail.job, traceback);
    if (!value)
        return err_set(e, ERR_NOMEM, "out of memory");
    rc = add_lineage(req, &id, value, e);
    return rc ? rc : reply_json(reply, 200, TAKE(value), e);
}

enum err_code flower_task_types(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    json_t *names;
    enum err_code rc = jobs_list_tasks(thread_of(req)->db, &rows, e);

    if (rc)
        return rc;
    names = json_array();
    for (int i = 0; i < db_rows(rows); i++)
        (void)json_array_append_new(names, json_string(db_text(rows, i, 0)));
    return reply_json(reply, 200, json_pack("{s:o}", "task-types", names), e);
}

/* RFC 3339 to seconds since 1970; null when it is none. */
static json_t *stamp(const json_t *text)
{
    int64_t us;

    return json_is_string(text) && clock_parse(json_string_value(text), &us) ? epoch(us)
                                                                             : json_null();
}

static json_t *active_json(const json_t *worker)
{
    const json_t *jobs = json_object_get(worker, "jobs");
    json_t *active = json_array();

    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const json_t *job = json_array_get(jobs, i);

        (void)json_array_append_new(
            active, json_pack("{s:O?, s:O?, s:O?, s:o, s:O?, s:b}", "id",
                              json_object_get(job, "id"), "name", json_object_get(job, "task"),
                              "hostname", json_object_get(worker, "name"), "time_start",
                              stamp(json_object_get(job, "started_at")), "worker_pid",
                              json_object_get(worker, "pid"), "acknowledged", 0));
    }
    return active;
}

static json_t *active_queues_json(const json_t *worker)
{
    const json_t *names = json_object_get(worker, "queues");
    json_t *queues = json_array();

    for (size_t i = 0; i < json_array_size(names); i++)
        (void)json_array_append_new(queues, json_pack("{s:O, s:O, s:b, s:b}", "name",
                                                      json_array_get(names, i), "routing_key",
                                                      json_array_get(names, i), "durable", 1,
                                                      "exclusive", 0));
    return queues;
}

static json_t *reserved_json(const json_t *worker)
{
    const json_t *held = json_object_get(worker, "held");
    json_t *reserved = json_array();

    for (size_t i = 0; i < json_array_size(held); i++)
        (void)json_array_append_new(
            reserved, json_pack("{s:O, s:O?, s:b}", "id", json_array_get(held, i), "hostname",
                                json_object_get(worker, "name"), "acknowledged", 0));
    return reserved;
}

/* What workers have declared: all of them run the same tasks. */
static enum err_code registered_json(struct request *req, json_t **ret_value, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    json_t *names;
    enum err_code rc = tasks_list_known(thread_of(req)->db, &rows, e);

    if (rc)
        return rc;
    names = json_array();
    for (int i = 0; i < db_rows(rows); i++)
        (void)json_array_append_new(names, json_string(db_text(rows, i, 0)));
    *ret_value = names;
    return ERR_OK;
}

static json_t *flower_worker_json(const json_t *worker, json_t *registered)
{
    return json_pack(
        "{s:o, s:o, s:{s:O?, s:O?}, s:O, s:o, s:[], s:[], s:o, s:{s:O?, s:O?, s:{s:O?, s:O?, s:O?,"
        " s:O?}, s:{s:O?, s:[O?]}, s:{s:O?}}}",
        "active", active_json(worker), "active_queues", active_queues_json(worker), "conf",
        "worker_concurrency", json_object_get(worker, "concurrency"), "task_queues",
        json_object_get(worker, "queues"), "registered", registered, "reserved",
        reserved_json(worker), "scheduled", "revoked", "timestamp",
        stamp(json_object_get(worker, "beat_at")), "stats", "pid", json_object_get(worker, "pid"),
        "started_at", json_object_get(worker, "started_at"), "total", "processed",
        json_object_get(worker, "processed"), "succeeded", json_object_get(worker, "succeeded"),
        "failed", json_object_get(worker, "failed"), "retried", json_object_get(worker, "retried"),
        "pool", "max-concurrency", json_object_get(worker, "concurrency"), "processes",
        json_object_get(worker, "pid"), "rusage", "maxrss", json_object_get(worker, "rss_bytes"));
}

enum err_code flower_workers(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *all = NULL;
    AUTO(json_decref) json_t *map = json_object();
    AUTO(json_decref) json_t *registered = NULL;
    AUTO(mem_free) char *wanted = request_query(req, "workername");
    AUTO(mem_free) char *status = request_query(req, "status");
    bool only_status = status && (strcmp(status, "true") == 0 || strcmp(status, "1") == 0);
    const json_t *workers;
    enum err_code rc = workers_gather(thread_of(req), &all, e);

    if (!rc)
        rc = registered_json(req, &registered, e);
    if (rc)
        return rc;
    workers = json_object_get(all, "workers");
    for (size_t i = 0; i < json_array_size(workers); i++) {
        const json_t *worker = json_array_get(workers, i);
        const char *name = json_string_value(json_object_get(worker, "name"));
        bool is_alive = json_is_true(json_object_get(worker, "is_alive"));

        if (!name || (wanted && *wanted && strcmp(name, wanted) != 0))
            continue;
        if (only_status)
            (void)json_object_set_new(map, name, json_boolean(is_alive));
        else if (is_alive)
            (void)json_object_set_new(map, name, flower_worker_json(worker, registered));
    }
    if (wanted && *wanted && json_object_size(map) == 0)
        return flower_refuse(reply, 404, "Unknown worker '%.200s'", wanted);
    return reply_json(reply, 200, TAKE(map), e);
}

/* Flower's number is the length of the list in Redis; ours, too, and PostgreSQL's without it. */
enum err_code flower_queues(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *all = NULL;
    json_t *out;
    const json_t *queues;
    enum err_code rc = queues_gather(thread_of(req), &all, e);

    if (rc)
        return rc;
    out = json_array();
    queues = json_object_get(all, "queues");
    for (size_t i = 0; i < json_array_size(queues); i++) {
        const json_t *queue = json_array_get(queues, i);
        json_t *depth = json_object_get(queue, "depth");

        if (!json_is_integer(depth))
            depth = json_object_get(json_object_get(queue, "waiting"), "count");
        (void)json_array_append_new(
            out,
            json_pack("{s:O, s:O}", "name", json_object_get(queue, "name"), "messages", depth));
    }
    return reply_json(reply, 200, json_pack("{s:o}", "active_queues", out), e);
}
