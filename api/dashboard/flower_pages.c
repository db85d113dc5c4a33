/* SPDX-License-Identifier: MIT
 *
 * What Flower's own pages ask for and scripts have come to read: /workers?json=1, and
 * /tasks/datatable in the form of the DataTables library.
 */
#include <string.h>

#include "api/dashboard/dashboard.h"
#include "api/dashboard/flower.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"

/* ---- workers ---- */

static json_t *heartbeats_json(const json_t *worker)
{
    const char *text = json_string_value(json_object_get(worker, "beat_at"));
    int64_t at_us;

    return text && clock_parse(text, &at_us) ? json_pack("[f]", (double)at_us / (double)US_PER_S)
                                             : json_array();
}

static json_t *row_json(const json_t *worker)
{
    return json_pack(
        "{s:O, s:O?, s:i, s:o, s:i, s:O?, s:O?, s:O?, s:s, s:O?, s:s, s:b, s:O?, s:O?,"
        " s:O?, s:O?, s:O?}",
        "hostname", json_object_get(worker, "name"), "pid", json_object_get(worker, "pid"), "freq",
        2, "heartbeats", heartbeats_json(worker), "clock", 0, "active",
        json_object_get(worker, "busy"), "processed", json_object_get(worker, "processed"),
        "loadavg", json_object_get(worker, "loadavg"), "sw_ident", "till", "sw_ver",
        json_object_get(worker, "version"), "sw_sys", "Linux", "status",
        json_is_true(json_object_get(worker, "is_alive")), "task-received",
        json_object_get(worker, "processed"), "task-started", json_object_get(worker, "processed"),
        "task-succeeded", json_object_get(worker, "succeeded"), "task-failed",
        json_object_get(worker, "failed"), "task-retried", json_object_get(worker, "retried"));
}

/* The page, or with ?json=1 what it shows. */
enum err_code flower_workers_page(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *all = NULL;
    const json_t *workers;
    bool as_json = false;
    json_t *data;
    enum err_code rc;

    if (!flower_bool(req, reply, "json", &as_json))
        return ERR_OK;
    if (!as_json)
        return page_show(req, reply, e);
    rc = workers_gather(thread_of(req), &all, e);
    if (rc)
        return rc;
    data = json_array();
    workers = json_object_get(all, "workers");
    for (size_t i = 0; i < json_array_size(workers); i++)
        if (json_is_string(json_object_get(json_array_get(workers, i), "name")))
            (void)json_array_append_new(data, row_json(json_array_get(workers, i)));
    return reply_json(reply, 200, json_pack("{s:o}", "data", data), e);
}

/* ---- tasks ---- */

/* What a DataTable asks for. */
struct table {
    int64_t draw;
    int64_t start;
    int64_t length;
    char *search;
};

static void table_release(struct table *table) { mem_free(table->search); }

/* False: the reply says what is wrong. */
static bool take_int(const struct request *req, struct reply *reply, const char *name,
                     int64_t *value)
{
    AUTO(mem_free) char *text = flower_argument(req, name);

    if (!text || text_to_int(text, INT32_MIN, INT32_MAX, value))
        return true;
    (void)flower_refuse(reply, 400, "Invalid argument '%.80s' of type 'int'", text);
    return false;
}

/* columns[order[0][column]][data] and order[0][dir]; what cannot be sorted by stays newest first.
 */
static bool take_order(const struct request *req, struct reply *reply, enum jobs_order *order)
{
    static const struct {
        const char *name;
        enum jobs_order up;
        enum jobs_order down;
    } columns[] = {
        {"name", JOBS_BY_NAME, JOBS_BY_NAME_DOWN},
        {"state", JOBS_BY_STATE, JOBS_BY_STATE_DOWN},
        {"received", JOBS_OLDEST_FIRST, JOBS_NEWEST_FIRST},
        {"started", JOBS_BY_STARTED, JOBS_BY_STARTED_DOWN},
        {"runtime", JOBS_BY_RUNTIME, JOBS_BY_RUNTIME_DOWN},
    };
    AUTO(mem_free) char *way = flower_argument(req, "order[0][dir]");
    AUTO(mem_free) char *column = NULL;
    char key[64];
    int64_t number = 0;

    if (!take_int(req, reply, "order[0][column]", &number))
        return false;
    if (text_format(key, sizeof key, "columns[%lld][data]", (long long)number))
        column = flower_argument(req, key);
    for (size_t i = 0; column && i < COUNT_OF(columns); i++)
        if (strcmp(column, columns[i].name) == 0)
            *order = way && strcmp(way, "desc") == 0 ? columns[i].down : columns[i].up;
    return true;
}

static bool take_table(const struct request *req, struct reply *reply, struct table *table,
                       struct jobs_filter *filter)
{
    table->length = 10;
    table->search = flower_argument(req, "search[value]");
    if (!take_int(req, reply, "draw", &table->draw) ||
        !take_int(req, reply, "start", &table->start) ||
        !take_int(req, reply, "length", &table->length) || !take_order(req, reply, &filter->order))
        return false;
    filter->offset = (int)(table->start < 0 ? 0 : table->start);
    filter->limit =
        (int)(table->length < 1 || table->length > JOBS_LIMIT_MAX ? JOBS_LIMIT_MAX : table->length);
    if (filter->offset < JOBS_WINDOW)
        return true;
    (void)flower_refuse(reply, 400, "start is less than %d; /api/v1/tasks has cursors",
                        JOBS_WINDOW);
    return false;
}

static json_t *table_json(const struct table *table, const struct jobs_page *page, json_t *tasks,
                          int64_t total)
{
    int64_t filtered = table->start + (int64_t)page->count + page->has_more;
    json_t *data = json_array();
    const char *id;
    json_t *task;

    json_object_foreach(tasks, id, task) { (void)json_array_append(data, task); }
    if (!table->search || !*table->search)
        filtered = total;
    return json_pack("{s:I, s:o, s:I, s:I}", "draw", (json_int_t)table->draw, "data", data,
                     "recordsTotal", (json_int_t)total, "recordsFiltered", (json_int_t)filtered);
}

/* How many a search finds is not counted beyond the page: one more says that there are more. */
enum err_code flower_tasks_table(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(job_search_release) struct job_search search = {0};
    AUTO_VALUE(jobs_page_release) struct jobs_page page = {0};
    AUTO_VALUE(table_release) struct table table = {0};
    AUTO(json_decref) json_t *tasks = NULL;
    struct jobs_filter filter = {.state = JOBS_ANY_STATE};
    struct jobs_sum total = {0};
    struct err problem = {0};
    enum err_code rc;

    if (!take_table(req, reply, &table, &filter))
        return ERR_OK;
    rc = jobs_count_total(thread_of(req)->db, &total, e);
    if (rc)
        return rc;
    if (job_search_take(table.search, &search, &filter, &problem))
        return reply_json(reply, 200,
                          json_pack("{s:I, s:[], s:I, s:i, s:s}", "draw", (json_int_t)table.draw,
                                    "data", "recordsTotal", (json_int_t)total.count,
                                    "recordsFiltered", 0, "searchError", problem.text),
                          e);
    rc = jobs_list(thread_of(req)->db, &filter, &page, e);
    if (!rc)
        rc = flower_tasks_json(thread_of(req)->db, &page, &tasks, e);
    return rc ? rc : reply_json(reply, 200, table_json(&table, &page, tasks, total.count), e);
}
