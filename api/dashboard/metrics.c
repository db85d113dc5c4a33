/* SPDX-License-Identifier: MIT
 *
 * /metrics in Prometheus' text form: Flower's six names, so that dashboards and alerts made for it
 * go on working, and what it lacks: how deep, how old, how many dead, queue by queue. Labels are
 * bounded: names of tasks and queues, and workers of the last day.
 */
#include <string.h>

#include "api/dashboard/dashboard.h"
#include "common/clock.h"
#include "common/jobs_desk.h"
#include "common/json.h"
#include "common/queue.h"

enum { TEXT_MAX = 8 * 1024 * 1024 };

/* ---- writing ---- */

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_label(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, "%c%s=\"", out->data[out->len - 1] == '"' ? ',' : '{', name);
    for (const char *p = value; *p; p++) {
        if (*p == '\\' || *p == '"')
            buf_add_char(out, '\\');
        if (*p == '\n')
            buf_add_str(out, "\\n");
        else
            buf_add_char(out, *p);
    }
    buf_add_char(out, '"');
}

/* A line with labels "name", value, ..., NULL. */
static void line(struct buf *out, const char *name, const char *const labels[], double value)
{
    buf_add_str(out, name);
    for (size_t i = 0; labels[i]; i += 2)
        add_label(out, labels[i], labels[i + 1]);
    if (labels[0])
        buf_add_char(out, '}');
    buf_addf(out, " %.15g\n", value);
}

#define LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})

static double larger(double a, double b) { return a > b ? a : b; }

/* ---- workers ---- */

static double number_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return json_is_number(value) ? json_number_value(value) : 0;
}

static const char *name_of(const json_t *worker)
{
    const char *name = json_string_value(json_object_get(worker, "name"));

    return name ? name : "";
}

static void add_gauge(struct buf *out, const json_t *workers, const char *metric, const char *help,
                      double (*value_of)(const json_t *worker))
{
    head(out, metric, "gauge", help);
    for (size_t i = 0; i < json_array_size(workers); i++) {
        const json_t *worker = json_array_get(workers, i);

        line(out, metric, LABELS("worker", name_of(worker)), value_of(worker));
    }
}

static double healthy_of(const json_t *worker)
{
    const char *health = json_string_value(json_object_get(worker, "health"));

    return json_is_true(json_object_get(worker, "is_alive")) && health && strcmp(health, "ok") == 0;
}

static double memory_of(const json_t *worker) { return number_of(worker, "rss_bytes"); }
static double slots_of(const json_t *worker) { return number_of(worker, "concurrency"); }

static double online_of(const json_t *worker)
{
    return json_is_true(json_object_get(worker, "is_alive")) ? 1 : 0;
}

static double executing_of(const json_t *worker)
{
    return online_of(worker) > 0 ? number_of(worker, "busy") : 0;
}

/* An attempt is received, begun and ended; all three are told when it has ended, so that none of
 * the counters ever falls (one that put itself off counts as none). */
static void add_kinds(struct buf *out, const char *worker, const char *task, const json_t *counts)
{
    static const struct {
        const char *type;
        const char *member;
    } ends[] = {
        {"task-succeeded", "succeeded"}, {"task-failed", "failed"}, {"task-retried", "retried"}};
    static const char *const begins[] = {"task-received", "task-started"};
    double sum = 0;

    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        double count = number_of(counts, ends[i].member);

        sum += count;
        line(out, "flower_events_total",
             LABELS("worker", worker, "type", ends[i].type, "task", task), count);
    }
    for (size_t i = 0; i < COUNT_OF(begins); i++)
        line(out, "flower_events_total", LABELS("worker", worker, "type", begins[i], "task", task),
             sum);
}

/* Those by task where the worker counts by task, else its sums with an empty task. */
static void add_events(struct buf *out, const json_t *worker)
{
    const json_t *tasks = json_object_get(worker, "tasks");
    void *at = json_is_object(tasks) ? json_object_iter((json_t *)(uintptr_t)tasks) : NULL;

    if (!at)
        add_kinds(out, name_of(worker), "", worker);
    for (; at; at = json_object_iter_next((json_t *)(uintptr_t)tasks, at))
        add_kinds(out, name_of(worker), json_object_iter_key(at), json_object_iter_value(at));
}

/* Buckets as Prometheus has them: each holds all below it, too. */
static void add_histogram(struct buf *out, const char *worker, const char *task,
                          const json_t *counts, const json_t *bounds)
{
    const json_t *buckets = json_object_get(counts, "runtime_buckets");
    double sum = 0;

    for (size_t i = 0; i < json_array_size(buckets); i++) {
        char bound[32] = "+Inf";

        sum += json_number_value(json_array_get(buckets, i));
        if (i < json_array_size(bounds) &&
            !text_format(bound, sizeof bound, "%.6g",
                         json_number_value(json_array_get(bounds, i)) / (double)US_PER_S))
            return;
        line(out, "flower_task_runtime_seconds_bucket",
             LABELS("worker", worker, "task", task, "le", bound), sum);
    }
    line(out, "flower_task_runtime_seconds_sum", LABELS("worker", worker, "task", task),
         number_of(counts, "runtime_sum_us") / (double)US_PER_S);
    line(out, "flower_task_runtime_seconds_count", LABELS("worker", worker, "task", task), sum);
}

static void add_runtimes(struct buf *out, const json_t *workers)
{
    head(out, "flower_task_runtime_seconds", "histogram", "How long tasks ran");
    for (size_t i = 0; i < json_array_size(workers); i++) {
        const json_t *worker = json_array_get(workers, i);
        const json_t *bounds = json_object_get(worker, "runtime_bounds_us");
        json_t *tasks = json_object_get(worker, "tasks");
        const char *name;
        json_t *counts;

        json_object_foreach(tasks, name, counts)
        {
            if (json_is_object(counts) &&
                json_array_size(bounds) + 1 ==
                    json_array_size(json_object_get(counts, "runtime_buckets")))
                add_histogram(out, name_of(worker), name, counts, bounds);
        }
    }
}

static void add_workers(struct buf *out, const json_t *workers)
{
    static const char *const events = "flower_events_total";

    add_gauge(out, workers, "flower_worker_online", "Whether the worker is online", online_of);
    add_gauge(out, workers, "flower_worker_number_of_currently_executing_tasks",
              "Number of tasks that the worker runs", executing_of);
    add_gauge(out, workers, "till_worker_healthy",
              "Whether the worker is online and hears what waits in its queues", healthy_of);
    add_gauge(out, workers, "till_worker_memory_bytes", "Memory that the worker holds", memory_of);
    add_gauge(out, workers, "till_worker_slots", "Tasks that the worker may run at once", slots_of);
    head(out, "flower_worker_prefetched_tasks", "gauge",
         "Tasks that the worker holds and has not begun");
    for (size_t i = 0; i < json_array_size(workers); i++)
        line(out, "flower_worker_prefetched_tasks",
             LABELS("worker", name_of(json_array_get(workers, i)), "task", ""),
             (double)json_array_size(json_object_get(json_array_get(workers, i), "held")));
    head(out, events, "counter", "Attempts, by what became of them");
    for (size_t i = 0; i < json_array_size(workers); i++)
        add_events(out, json_array_get(workers, i));
}

/* The running tasks: how long each had waited for its worker. The last one of a label counts. */
static enum err_code add_prefetch(struct buf *out, struct db *db, struct err *e)
{
    static const char *const name = "flower_task_prefetch_time_seconds";
    AUTO_VALUE(jobs_page_release) struct jobs_page page = {0};
    const struct jobs_filter filter = {.state = JOB_STARTED, .limit = JOBS_LIMIT_MAX};
    enum err_code rc = jobs_list(db, &filter, &page, e);

    if (rc)
        return rc;
    head(out, name, "gauge", "Time that a running task had waited from ready to begun");
    for (size_t i = 0; i < page.count; i++) {
        const struct job_view *job = &page.items[i];
        bool is_last = job->worker != NULL && job->enqueued_us > 0;

        for (size_t j = i + 1; j < page.count && is_last; j++)
            is_last = strcmp(page.items[j].task, job->task) != 0 || !page.items[j].worker ||
                      strcmp(page.items[j].worker, job->worker) != 0;
        if (is_last)
            line(out, name, LABELS("worker", job->worker, "task", job->task),
                 larger(0, (double)(job->started_us - job->enqueued_us) / (double)US_PER_S));
    }
    return ERR_OK;
}

/* ---- queues ---- */

struct queue_metric {
    const char *name;
    const char *help;
    double (*value_of)(const json_t *queue);
};

static double sum_of(const json_t *queue, const char *member)
{
    return number_of(json_object_get(queue, member), "count");
}

static double waiting_of(const json_t *queue) { return sum_of(queue, "waiting"); }
static double parked_of(const json_t *queue) { return sum_of(queue, "parked"); }
static double scheduled_of(const json_t *queue) { return sum_of(queue, "scheduled"); }
static double started_of(const json_t *queue) { return sum_of(queue, "started"); }
static double dead_of(const json_t *queue) { return sum_of(queue, "dead"); }
static double pending_of(const json_t *queue) { return number_of(queue, "pending"); }
static double consumers_of(const json_t *queue) { return number_of(queue, "consumers"); }
static double retries_of(const json_t *queue) { return number_of(queue, "retries"); }

static double depth_of(const json_t *queue)
{
    return json_is_integer(json_object_get(queue, "depth")) ? number_of(queue, "depth")
                                                            : waiting_of(queue);
}

static double paused_of(const json_t *queue)
{
    return json_is_string(json_object_get(queue, "paused_at")) ? 1 : 0;
}

static double age_of(const json_t *queue)
{
    static const char *const members[] = {"oldest_at", "stream_oldest_at"};
    double oldest = 0;

    for (size_t i = 0; i < COUNT_OF(members); i++) {
        const char *text = json_string_value(json_object_get(queue, members[i]));
        int64_t at_us;

        if (text && clock_parse(text, &at_us))
            oldest = larger(oldest, (double)(clock_wall_us() - at_us) / (double)US_PER_S);
    }
    return oldest;
}

static void add_queues(struct buf *out, const json_t *queues)
{
    static const struct queue_metric metrics[] = {
        {"till_queue_depth", "Entries in the streams that no worker has got", depth_of},
        {"till_queue_oldest_seconds", "Age of the oldest task that is ready and waits", age_of},
        {"till_queue_pending", "Entries that workers hold", pending_of},
        {"till_queue_waiting", "Tasks ready to run, by the database", waiting_of},
        {"till_queue_parked", "Tasks that wait for a place under a limit", parked_of},
        {"till_queue_scheduled", "Tasks that wait for their time, retries among them",
         scheduled_of},
        {"till_queue_retries", "Tasks that failed and wait for their next attempt", retries_of},
        {"till_queue_started", "Tasks that run", started_of},
        {"till_queue_dead", "Tasks that failed for good", dead_of},
        {"till_queue_consumers", "Workers that take work from the queue", consumers_of},
        {"till_queue_paused", "Whether the queue is paused", paused_of},
    };

    for (size_t m = 0; m < COUNT_OF(metrics); m++) {
        head(out, metrics[m].name, "gauge", metrics[m].help);
        for (size_t i = 0; i < json_array_size(queues); i++) {
            const json_t *queue = json_array_get(queues, i);

            line(out, metrics[m].name, LABELS("queue", name_of(queue)), metrics[m].value_of(queue));
        }
    }
}

enum err_code metrics_show(struct request *req, struct reply *reply, struct err *e)
{
    struct dashboard_thread *thread = thread_of(req);
    AUTO(json_decref) json_t *workers = NULL;
    AUTO(json_decref) json_t *queues = NULL;
    AUTO_VALUE(buf_release) struct buf out;
    enum err_code rc = queues_gather(thread, &workers, &queues, e);

    buf_init(&out, TEXT_MAX);
    if (rc)
        return rc;
    add_workers(&out, json_object_get(workers, "workers"));
    add_runtimes(&out, json_object_get(workers, "workers"));
    rc = add_prefetch(&out, thread->db, e);
    if (rc)
        return rc;
    add_queues(&out, json_object_get(queues, "queues"));
    head(&out, "till_redis_up", "gauge", "Whether Redis answers");
    line(&out, "till_redis_up", (const char *const[]){NULL},
         json_is_true(json_object_get(queues, "redis")) ? 1 : 0);
    if (out.overflow)
        return err_set(e, ERR_INTERNAL, "the metrics are too long");
    reply_bytes(reply, 200, "text/plain; version=0.0.4; charset=utf-8", out.data, out.len);
    return ERR_OK;
}
