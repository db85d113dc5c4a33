/* SPDX-License-Identifier: MIT
 *
 * Workers: what each says of itself with its heartbeat, beside the jobs that PostgreSQL knows it to
 * hold. A worker whose lease ran out is shown as lost for a day; what it held goes to others.
 */
#include <string.h>

#include "api/dashboard/dashboard.h"
#include "api/dashboard/shared.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/queue.h"
#include "common/task_secrets.h"

enum { REPORT_MAX = 1024 * 1024 };

/* An object with the report's members and `name`, `is_alive`, `started_jobs`. */
static json_t *worker_json(const struct queue_worker *worker)
{
    json_t *out = NULL;

    if (!worker->report ||
        json_read(worker->report, strlen(worker->report), REPORT_MAX, &out, NULL) ||
        !json_is_object(out)) {
        json_decref(out);
        out = json_object();
    }
    (void)json_object_set_new(out, "name", json_string(worker->name));
    (void)json_object_set_new(out, "is_alive", json_boolean(worker->is_alive));
    (void)json_object_set_new(out, "started_jobs", json_integer(0));
    return out;
}

static json_t *find_by_name(const json_t *workers, const char *name)
{
    for (size_t i = 0; i < json_array_size(workers); i++) {
        json_t *worker = json_array_get(workers, i);
        const char *found = json_member_text(worker, "name");

        if (found && strcmp(found, name) == 0)
            return worker;
    }
    return NULL;
}

/* Adds what PostgreSQL knows: also workers that Redis has forgotten, or that it cannot name. */
static void add_started(json_t *workers, const struct db_result *rows)
{
    for (int i = 0; i < db_rows(rows); i++) {
        const char *name = db_text(rows, i, 0);
        json_t *worker = find_by_name(workers, name);

        if (!worker) {
            worker = json_pack("{s:s, s:n}", "name", name, "is_alive");
            (void)json_array_append_new(workers, worker);
        }
        (void)json_object_set_new(worker, "started_jobs", json_integer(db_int(rows, i, 1)));
    }
}

enum err_code workers_gather(struct dashboard_thread *thread, json_t **ret_value, struct err *e)
{
    AUTO_VALUE(queue_workers_release) struct queue_workers found = {0};
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO(db_result_free) struct db_result *declared = NULL;
    bool has_redis = queue_list_workers(thread->redis, &found, NULL) == ERR_OK;
    json_t *workers;
    enum err_code rc = jobs_list_workers(thread->db, &rows, e);

    if (!rc)
        rc = task_secrets_list(thread->db, &declared, e);
    if (rc)
        return rc;
    workers = json_array();
    for (size_t i = 0; i < found.count; i++) {
        json_t *worker = worker_json(&found.items[i]);

        task_secrets_hide_last_error(declared, worker);
        (void)json_array_append_new(workers, worker);
    }
    add_started(workers, rows);
    *ret_value = json_pack("{s:b, s:o}", "redis", has_redis, "workers", workers);
    return *ret_value ? ERR_OK : err_set(e, ERR_NOMEM, "out of memory");
}

bool worker_reports_job(struct dashboard_thread *thread, const char *worker, const char *id)
{
    AUTO_VALUE(queue_workers_release) struct queue_workers found = {0};
    AUTO(json_decref) json_t *told = NULL;
    AUTO(mem_free) char *name = mem_dup(worker);
    const json_t *jobs;

    if (queue_find_workers(thread->redis, &name, 1, &found, NULL) || found.count == 0 ||
        !found.items[0].is_alive)
        return false;
    told = worker_json(&found.items[0]);
    jobs = json_object_get(told, "jobs");
    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const char *one = json_member_text(json_array_get(jobs, i), "id");

        if (one && strcmp(one, id) == 0)
            return true;
    }
    return false;
}

static enum err_code make_workers(struct request *req, struct reply *reply, struct err *e)
{
    json_t *value = NULL;
    enum err_code rc = workers_gather(thread_of(req), &value, e);

    return rc ? rc : reply_json(reply, 200, value, e);
}

enum err_code workers_list(struct request *req, struct reply *reply, struct err *e)
{
    return shared_get(req, make_workers, reply, e);
}

static enum err_code make_worker(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *all = NULL;
    json_t *worker;
    enum err_code rc = workers_gather(thread_of(req), &all, e);

    if (rc)
        return rc;
    worker = find_by_name(json_object_get(all, "workers"), request_param(req, 0));
    if (!worker && json_is_true(json_object_get(all, "redis")))
        return err_set(e, ERR_NOT_FOUND, "there is no such worker");
    return reply_json(
        reply, 200,
        json_pack("{s:O, s:O?}", "redis", json_object_get(all, "redis"), "worker", worker), e);
}

enum err_code worker_show(struct request *req, struct reply *reply, struct err *e)
{
    return shared_get(req, make_worker, reply, e);
}
