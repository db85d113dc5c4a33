/* SPDX-License-Identifier: MIT
 *
 * GET /api/workers in Celery's shapes: what `inspect` says of each worker there, from the report
 * that comes with each heartbeat here, and from the rows of what they run. What Celery has and Till
 * has not is there and null, or empty.
 */
#include <string.h>

#include "api/dashboard/dashboard.h"
#include "api/dashboard/flower.h"
#include "common/clock.h"
#include "common/job_json.h"
#include "common/jobs_desk.h"
#include "common/json.h"
#include "common/mem.h"

/* RFC 3339 to seconds since 1970; null when it is none. */
static json_t *stamp(const json_t *text)
{
    int64_t us;

    return json_is_string(text) && clock_parse(json_string_value(text), &us)
               ? json_real((double)us / (double)US_PER_S)
               : json_null();
}

/* The row of a job among those that run; NULL: a fast one, or it has just ended. */
static const struct job_view *find_job(const struct jobs_page *running, const json_t *id)
{
    const char *text = json_string_value(id);

    for (size_t i = 0; text && i < running->count; i++)
        if (strcmp(running->items[i].id.text, text) == 0)
            return &running->items[i];
    return NULL;
}

/* What a worker holds, as Celery describes a request. */
static json_t *request_json(const json_t *worker, const json_t *id, const json_t *name,
                            const struct job_view *row)
{
    const char *task = row ? row->task : json_string_value(name);
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};

    if (row)
        job_shown_make(row, &shown);
    return json_pack(
        "{s:O?, s:s?, s:s?, s:o, s:o, s:O?, s:b, s:{s:s, s:s?, s:i, s:b}}", "id", id, "name", task,
        "type", task, "args", row ? flower_value_text(shown.args, row->args_bytes) : json_null(),
        "kwargs", row ? flower_value_text(shown.kwargs, row->kwargs_bytes) : json_null(),
        "hostname", json_object_get(worker, "name"), "acknowledged", 0, "delivery_info", "exchange",
        "", "routing_key", row ? row->queue : NULL, "priority", row ? (int)row->priority : 0,
        "redelivered", row && row->attempt > 1);
}

static json_t *active_json(const json_t *worker, const struct jobs_page *running)
{
    const json_t *jobs = json_object_get(worker, "jobs");
    json_t *active = json_array();

    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const json_t *job = json_array_get(jobs, i);
        const json_t *id = json_object_get(job, "id");
        json_t *out = request_json(worker, id, json_object_get(job, "task"), find_job(running, id));

        (void)json_object_set_new(out, "time_start", stamp(json_object_get(job, "started_at")));
        (void)json_object_set(out, "worker_pid", json_object_get(worker, "pid"));
        (void)json_array_append_new(active, out);
    }
    return active;
}

/* What it holds ready and has not begun. */
static json_t *reserved_json(const json_t *worker, const struct jobs_page *running)
{
    const json_t *held = json_object_get(worker, "held");
    json_t *reserved = json_array();

    for (size_t i = 0; i < json_array_size(held); i++) {
        const json_t *id = json_array_get(held, i);
        json_t *out = request_json(worker, id, NULL, find_job(running, id));

        (void)json_object_set_new(out, "time_start", json_null());
        (void)json_object_set_new(out, "worker_pid", json_null());
        (void)json_array_append_new(reserved, out);
    }
    return reserved;
}

/* Ids of what runs and was revoked meanwhile. */
static json_t *revoked_json(const json_t *worker)
{
    const json_t *jobs = json_object_get(worker, "jobs");
    json_t *revoked = json_array();

    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const json_t *job = json_array_get(jobs, i);

        if (json_is_true(json_object_get(job, "revoked")))
            (void)json_array_append(revoked, json_object_get(job, "id"));
    }
    return revoked;
}

/* A queue as Celery has it with Redis: a direct exchange of the same name. */
static json_t *active_queue_json(json_t *name)
{
    static const char *const absent[] = {
        "alias",      "binding_arguments", "consumer_arguments", "expires",
        "max_length", "max_length_bytes",  "max_priority",       "message_ttl",
        "no_declare", "queue_arguments"};
    json_t *queue = json_pack(
        "{s:O, s:O, s:[], s:b, s:b, s:b, s:b, s:{s:O, s:s, s:n, s:b, s:b, s:b, s:i, s:b}}", "name",
        name, "routing_key", name, "bindings", "durable", 1, "exclusive", 0, "auto_delete", 0,
        "no_ack", 0, "exchange", "name", name, "type", "direct", "arguments", "durable", 1,
        "passive", 0, "auto_delete", 0, "delivery_mode", 2, "no_declare", 0);

    for (size_t i = 0; i < COUNT_OF(absent); i++)
        (void)json_object_set_new(queue, absent[i], json_null());
    return queue;
}

static json_t *active_queues_json(const json_t *worker)
{
    const json_t *names = json_object_get(worker, "queues");
    json_t *queues = json_array();

    for (size_t i = 0; i < json_array_size(names); i++)
        (void)json_array_append_new(queues, active_queue_json(json_array_get(names, i)));
    return queues;
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

/* ---- stats ---- */

/* Task -> how many of it have ended, in whatever way. */
static json_t *total_json(const json_t *worker)
{
    static const char *const ends[] = {"succeeded", "failed", "retried"};
    json_t *tasks = json_object_get(worker, "tasks");
    json_t *total = json_object();
    const char *name;
    json_t *counts;

    json_object_foreach(tasks, name, counts)
    {
        json_int_t sum = 0;

        if (!*name) /* entries that no task could be read from; Celery does not count them here */
            continue;
        for (size_t i = 0; i < COUNT_OF(ends); i++)
            sum += json_integer_value(json_object_get(counts, ends[i]));
        (void)json_object_set_new(total, name, json_integer(sum));
    }
    return total;
}

/* Celery's members of rusage; those that Linux does not keep are 0 there, too. */
static json_t *rusage_json(const json_t *worker)
{
    static const char *const names[] = {
        "idrss",  "inblock", "isrss", "ixrss", "majflt",  "maxrss",   "minflt", "msgrcv",
        "msgsnd", "nivcsw",  "nswap", "nvcsw", "oublock", "nsignals", "stime",  "utime"};
    const json_t *told = json_object_get(worker, "rusage");
    json_t *rusage = json_object();

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        json_t *value = json_object_get(told, names[i]);

        (void)json_object_set_new(rusage, names[i],
                                  json_is_number(value) ? json_incref(value) : json_integer(0));
    }
    return rusage;
}

static json_t *setting(const json_t *worker, const char *key)
{
    return json_object_get(json_object_get(worker, "settings"), key);
}

static json_t *pool_json(const json_t *worker)
{
    json_t *jobs = setting(worker, "TILL_WORKER_MAX_JOBS");
    json_t *autoscale = json_object_get(worker, "autoscale");

    return json_pack(
        "{s:s, s:O?, s:[O?], s:o, s:b, s:[ii], s:s, s:O?}", "implementation", "till-worker:threads",
        "max-concurrency", json_object_get(worker, "concurrency"), "processes",
        json_object_get(worker, "pid"), "max-tasks-per-child",
        json_integer_value(jobs) > 0 ? json_incref(jobs) : json_string("N/A"),
        "put-guarded-by-semaphore", 0, "timeouts", 0, 0, "writes", "N/A", "autoscale", autoscale);
}

/* Where Redis is: Till's broker. */
static json_t *broker_json(const struct request *req)
{
    return flower_broker_json(thread_of(req)->dashboard->conf->redis_url);
}

static json_t *uptime_json(const json_t *worker)
{
    const char *text = json_string_value(json_object_get(worker, "started_at"));
    int64_t at_us;

    return text && clock_parse(text, &at_us) ? json_integer((clock_wall_us() - at_us) / US_PER_S)
                                             : json_null();
}

static json_t *stats_json(const struct request *req, const json_t *worker)
{
    return json_pack("{s:o, s:s, s:O?, s:o, s:o, s:O?, s:o, s:o, s:O?}", "broker", broker_json(req),
                     "clock", "0", "pid", json_object_get(worker, "pid"), "pool", pool_json(worker),
                     "uptime", uptime_json(worker), "prefetch_count",
                     setting(worker, "TILL_WORKER_PREFETCH"), "rusage", rusage_json(worker),
                     "total", total_json(worker), "started_at",
                     json_object_get(worker, "started_at"));
}

/* ---- the map ---- */

static json_t *conf_json(const json_t *worker)
{
    json_t *conf =
        json_pack("{s:O?, s:O?}", "worker_concurrency", json_object_get(worker, "concurrency"),
                  "task_queues", json_object_get(worker, "queues"));
    json_t *settings = json_object_get(worker, "settings");

    if (json_is_object(settings))
        (void)json_object_update(conf, settings);
    return conf;
}

static json_t *worker_json(const struct request *req, const json_t *worker, json_t *registered,
                           const struct jobs_page *running)
{
    return json_pack("{s:o, s:o, s:o, s:O, s:o, s:[], s:o, s:o, s:o}", "active",
                     active_json(worker, running), "active_queues", active_queues_json(worker),
                     "conf", conf_json(worker), "registered", registered, "reserved",
                     reserved_json(worker, running), "scheduled", "revoked", revoked_json(worker),
                     "timestamp", stamp(json_object_get(worker, "beat_at")), "stats",
                     stats_json(req, worker));
}

static enum err_code gather(struct request *req, json_t **ret_all, json_t **ret_registered,
                            struct jobs_page *running, struct err *e)
{
    const struct jobs_filter filter = {.state = JOB_STARTED, .limit = JOBS_LIMIT_MAX};
    enum err_code rc = workers_gather(thread_of(req), ret_all, e);

    if (!rc)
        rc = registered_json(req, ret_registered, e);
    return rc ? rc : jobs_list(thread_of(req)->db, &filter, running, e);
}

/* `status` asks for nothing but who is there: of all, whichever is named. */
enum err_code flower_workers(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(jobs_page_release) struct jobs_page running = {0};
    AUTO(json_decref) json_t *all = NULL;
    AUTO(json_decref) json_t *map = json_object();
    AUTO(json_decref) json_t *registered = NULL;
    AUTO(mem_free) char *wanted = request_query(req, "workername");
    bool refresh = false; /* what is answered is never older than a heartbeat */
    bool only_status = false;
    const json_t *workers;
    enum err_code rc;

    if (!flower_bool(req, reply, "refresh", &refresh) ||
        !flower_bool(req, reply, "status", &only_status))
        return ERR_OK;
    rc = gather(req, &all, &registered, &running, e);
    if (rc)
        return rc;
    workers = json_object_get(all, "workers");
    for (size_t i = 0; i < json_array_size(workers); i++) {
        const json_t *worker = json_array_get(workers, i);
        const char *name = json_string_value(json_object_get(worker, "name"));
        bool is_alive = json_is_true(json_object_get(worker, "is_alive"));

        if (!name || (!only_status && wanted && *wanted && strcmp(name, wanted) != 0))
            continue;
        if (only_status)
            (void)json_object_set_new(map, name, json_boolean(is_alive));
        else if (is_alive)
            (void)json_object_set_new(map, name, worker_json(req, worker, registered, &running));
    }
    if (!only_status && wanted && *wanted && json_object_size(map) == 0)
        return flower_refuse(reply, 404, "Unknown worker '%.200s'", wanted);
    return reply_json(reply, 200, TAKE(map), e);
}
