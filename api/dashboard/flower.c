/* SPDX-License-Identifier: MIT
 *
 * Flower's HTTP API: its paths, parameters and shapes, so that scripts written for it go on
 * working. Where Celery has something that Till has not (exchange, clock, ...) the member is there
 * and null. `received` is when the task was enqueued; args and kwargs are JSON texts.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "api/dashboard/dashboard.h"
#include "api/dashboard/flower.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/job_json.h"
#include "common/job_replays.h"
#include "common/jobs_desk.h"
#include "common/jobs_view.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"

enum {
    IDS_MAX = 64 * 1024, /* of the array of a page's ids */
    SIZE_TEXT = 48,      /* "... (n bytes)" */
};

/* ---- one task ---- */

static json_t *epoch(int64_t us)
{
    return us ? json_real((double)us / (double)US_PER_S) : json_null();
}

static json_t *epoch_if(bool holds, int64_t us) { return holds ? epoch(us) : json_null(); }

/* As Python writes and reads it, before 3.11 not with a Z. */
static json_t *iso(int64_t us)
{
    char text[CLOCK_TEXT_SIZE];

    if (!us)
        return json_null();
    clock_format(us, text);
    return json_sprintf("%.*s+00:00", (int)strlen(text) - 1, text);
}

json_t *flower_value_text(const json_t *value, int64_t bytes)
{
    AUTO(mem_free) char *text = NULL;

    if (!value && bytes == 0)
        return json_null();
    if (!value)
        return json_sprintf("... (%lld bytes)", (long long)bytes);
    text = json_write(value);
    return text ? json_string(text) : json_null();
}

/* One task in Flower's shape; a new value. */
static json_t *task_json(const struct job_view *job, const char *traceback)
{
    static const char *const absent[] = {"sent",   "rejected", "exchange", "clock",
                                         "client", "parent",   "parent_id"};
    double runtime = 0;
    bool has_runtime = job->state == JOB_SUCCESS && job_runtime(job, &runtime);
    bool failed = job->state == JOB_FAILURE;
    bool waits_for_time =
        !job->enqueued_us && (job->state == JOB_PENDING || job->state == JOB_RETRY);
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
    json_t *out;

    job_shown_make(job, &shown);
    out = json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:s?,"
        " s:o, s:o, s:o, s:s, s:s, s:s, s:[]}",
        "uuid", job->id.text, "name", job->task, "state", job_state_name(job->state), "args",
        flower_value_text(shown.args, job->args_bytes), "kwargs",
        flower_value_text(shown.kwargs, job->kwargs_bytes), "result",
        flower_value_text(shown.result, job->result_bytes), "received", epoch(job->created_us),
        "started", epoch(job->started_us), "succeeded",
        epoch_if(job->state == JOB_SUCCESS, job->finished_us), "failed",
        epoch_if(failed, job->finished_us), "retried",
        epoch_if(job->state == JOB_RETRY, job->failed_us), "revoked",
        epoch_if(job->state == JOB_REVOKED, job->finished_us), "runtime",
        has_runtime ? json_real(runtime) : json_null(), "eta",
        iso(waits_for_time ? job->scheduled_us : 0), "expires", iso(job->expires_us), "retries",
        job->attempt > 1 ? job->attempt - 1 : 0, "worker", job->worker, "exception",
        shown.error ? json_string(shown.error) : json_null(), "traceback",
        job_shown_text(&shown, traceback), "timestamp", epoch(job->changed_us), "routing_key",
        job->queue, "root", job->id.text, "root_id", job->id.text, "children");

    for (size_t i = 0; out && i < COUNT_OF(absent); i++)
        (void)json_object_set_new(out, absent[i], json_null());
    return out;
}

/* ---- GET /api/tasks ---- */

/* As Flower reads them: False: the reply says what is wrong, in its words where it has some. */
static bool take_number(const struct request *req, struct reply *reply, const char *name,
                        int64_t max, int *value)
{
    AUTO(mem_free) char *text = request_query(req, name);
    int64_t number;

    if (!text || !*text)
        return true;
    if (!text_to_int(text, INT64_MIN, INT64_MAX, &number)) {
        (void)flower_refuse(reply, 400, "Invalid argument '%.80s' of type 'int'", text);
        return false;
    }
    if (number > max) {
        (void)flower_refuse(reply, 400, "%s is at most %lld; /api/v1/tasks has cursors", name,
                            (long long)max);
        return false;
    }
    *value = number < 0 ? 0 : (int)number;
    return true;
}

/* "%Y-%m-%d %H:%M", taken as UTC; RFC 3339 is understood, too. */
static bool take_time(const struct request *req, struct reply *reply, const char *name,
                      int64_t *value)
{
    AUTO(mem_free) char *text = request_query(req, name);

    if (!text || !*text || flower_time(text, value))
        return true;
    (void)flower_refuse(reply, 400,
                        "Invalid received_start or received_end, expected format"
                        " 'YYYY-MM-DD HH:MM'");
    return false;
}

static bool take_order(const struct request *req, struct reply *reply, enum jobs_order *order)
{
    static const struct {
        const char *name;
        enum jobs_order order;
    } orders[] = {
        {"name", JOBS_BY_NAME},          {"-name", JOBS_BY_NAME_DOWN},
        {"state", JOBS_BY_STATE},        {"-state", JOBS_BY_STATE_DOWN},
        {"received", JOBS_OLDEST_FIRST}, {"-received", JOBS_NEWEST_FIRST},
        {"started", JOBS_BY_STARTED},    {"-started", JOBS_BY_STARTED_DOWN},
        {"runtime", JOBS_BY_RUNTIME},    {"-runtime", JOBS_BY_RUNTIME_DOWN},
    };
    AUTO(mem_free) char *text = request_query(req, "sort_by");

    if (!text || !*text)
        return true;
    for (size_t i = 0; i < COUNT_OF(orders); i++) {
        if (strcmp(text, orders[i].name) == 0) {
            *order = orders[i].order;
            return true;
        }
    }
    (void)flower_refuse(reply, 400,
                        "Invalid sort_by '%.80s', expected one of name, received, runtime,"
                        " started, state",
                        text);
    return false;
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

/* The last traceback of the job at that place of a page, as `details` (rows of jobs_last_details())
 * have it from *row on; of one too long for a list, how long it is. */
static const char *traceback_at(const struct db_result *details, size_t place, int *row,
                                char size[SIZE_TEXT])
{
    int at = *row;

    if (at >= db_rows(details) || db_int(details, at, 0) != (int64_t)place)
        return NULL;
    *row = at + 1;
    if (!db_is_null(details, at, 1))
        return db_text(details, at, 1);
    (void)snprintf(size, SIZE_TEXT, "... (%s bytes)", db_text(details, at, 2));
    return size;
}

static enum err_code add_tasks(const struct jobs_page *page, const struct db_result *details,
                               json_t *map, struct err *e)
{
    int row = 0;

    for (size_t i = 0; i < page->count; i++) {
        const struct job_view *job = &page->items[i];
        char size[SIZE_TEXT];
        const char *traceback = traceback_at(details, i, &row, size);
        json_t *task = task_json(job, job->error ? traceback : NULL);

        if (json_object_set_new(map, job->id.text, task) < 0)
            return err_set(e, ERR_NOMEM, "a job does not fit into memory");
    }
    return ERR_OK;
}

/* Where copies come from and which there are. `kin` are rows as job_replays_kin() gives them. */
static void add_kin(json_t *map, const struct db_result *kin)
{
    for (int row = 0; row < db_rows(kin); row++) {
        json_t *task = json_object_get(map, db_text(kin, row, 0));

        if (!db_is_null(kin, row, 3)) {
            (void)json_array_append_new(json_object_get(task, "children"),
                                        json_string(db_text(kin, row, 3)));
            continue;
        }
        (void)json_object_set_new(task, "parent_id", json_string(db_text(kin, row, 1)));
        (void)json_object_set_new(task, "parent", json_string(db_text(kin, row, 1)));
        (void)json_object_set_new(task, "root_id", json_string(db_text(kin, row, 2)));
        (void)json_object_set_new(task, "root", json_string(db_text(kin, row, 2)));
    }
}

enum err_code flower_tasks_json(struct db *db, const struct jobs_page *page, json_t **ret_map,
                                struct err *e)
{
    AUTO(json_decref) json_t *map = json_object();
    AUTO(db_result_free) struct db_result *details = NULL;
    AUTO(db_result_free) struct db_result *kin = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    enum err_code rc;

    buf_init(&ids, IDS_MAX);
    for (size_t i = 0; i < page->count; i++)
        db_array_add(&ids, page->items[i].id.text);
    db_array_end(&ids);
    rc = jobs_last_details(db, ids.data, &details, e);
    if (!rc)
        rc = job_replays_kin(db, ids.data, &kin, e);
    if (!rc)
        rc = add_tasks(page, details, map, e);
    if (rc)
        return rc;
    add_kin(map, kin);
    *ret_map = TAKE(map);
    return ERR_OK;
}

/* Absent in this list, and null in all others. */
static void leave_out_no_worker(json_t *map)
{
    const char *id;
    json_t *task;

    json_object_foreach(map, id, task)
    {
        if (json_is_null(json_object_get(task, "worker")))
            (void)json_object_del(task, "worker");
    }
}

enum err_code flower_tasks(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(jobs_page_release) struct jobs_page page = {0};
    AUTO_VALUE(texts_release)
    struct texts texts = {request_query(req, "taskname"), request_query(req, "workername"),
                          request_query(req, "state"), request_query(req, "search")};
    AUTO_VALUE(job_search_release) struct job_search search = {0};
    struct jobs_filter filter = {.state = JOBS_ANY_STATE,
                                 .task = some(texts.task),
                                 .worker = some(texts.worker),
                                 .limit = -1};
    struct err problem = {0};
    enum job_state state;
    json_t *map = NULL;
    enum err_code rc;

    if (!take_number(req, reply, "offset", JOBS_WINDOW - 1, &filter.offset) ||
        !take_number(req, reply, "limit", INT32_MAX, &filter.limit) ||
        !take_time(req, reply, "received_start", &filter.created_from_us) ||
        !take_time(req, reply, "received_end", &filter.created_to_us) ||
        !take_order(req, reply, &filter.order))
        return ERR_OK;
    if (job_search_take(texts.search, &search, &filter, &problem))
        return reply_json(reply, 400, json_pack("{s:s}", "error", problem.text), e);
    if (filter.limit == 0) /* asked for; none is the most there may be */
        return reply_json(reply, 200, json_object(), e);
    if (filter.limit < 0 || filter.limit > JOBS_LIMIT_MAX)
        filter.limit = JOBS_LIMIT_MAX;
    if (some(texts.state)) {
        /* RECEIVED and others of Celery's: no task is ever in them. */
        for (char *p = texts.state; *p; p++)
            *p = (char)toupper((unsigned char)*p);
        if (!job_state_parse(texts.state, &state))
            return reply_json(reply, 200, json_object(), e);
        filter.state = (int)state;
    }
    rc = jobs_list(thread_of(req)->db, &filter, &page, e);
    if (!rc)
        rc = flower_tasks_json(thread_of(req)->db, &page, &map, e);
    if (rc)
        return rc;
    leave_out_no_worker(map);
    return reply_json(reply, 200, map, e);
}

/* ---- the others ---- */

static enum err_code add_lineage(struct request *req, const struct uuid *id, json_t *value,
                                 struct err *e)
{
    AUTO(json_decref) json_t *found = json_object();
    enum err_code rc = replay_describe(thread_of(req)->db, id, found, e);

    if (rc)
        return rc;
    if (json_is_string(json_object_get(found, "parent_id"))) {
        (void)json_object_set(value, "parent_id", json_object_get(found, "parent_id"));
        (void)json_object_set(value, "root_id", json_object_get(found, "root_id"));
        (void)json_object_set(value, "parent", json_object_get(found, "parent_id"));
        (void)json_object_set(value, "root", json_object_get(found, "root_id"));
    }
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
    value = task_json(&detail.job, traceback);
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

/* Flower's number is the length of the list in Redis; ours, too, and PostgreSQL's without it. */
enum err_code flower_queues(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *all = NULL;
    json_t *out;
    const json_t *queues;
    enum err_code rc = queues_gather(thread_of(req), NULL, &all, e);

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
