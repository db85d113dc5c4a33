/* SPDX-License-Identifier: MIT
 *
 * Queues: what stands in the streams (Redis) beside what is meant to (PostgreSQL). The two differ
 * for a moment in healthy times, and for as long as Redis is away or has lost something.
 */
#include <string.h>

#include "api/dashboard/dashboard.h"
#include "api/dashboard/shared.h"
#include "common/job_json.h"
#include "common/jobs_desk.h"
#include "common/json.h"
#include "common/limits_json.h"
#include "common/queue.h"

/* The streams of a queue, one a priority, and their sums; false when Redis cannot tell. */
static bool add_streams(struct redis *redis, const char *queue, json_t *out)
{
    AUTO(json_decref) json_t *streams = json_object();
    struct queue_depth sum = {0};

    for (int i = 0; i < JOB_PRIORITY_COUNT; i++) {
        struct queue_stream stream = queue_stream_of(queue, (enum job_priority)i);
        struct queue_depth depth = {0};

        if (queue_measure(redis, &stream, &depth, NULL))
            return false;
        sum.waiting += depth.waiting;
        sum.pending += depth.pending;
        if (depth.oldest_us && (!sum.oldest_us || depth.oldest_us < sum.oldest_us))
            sum.oldest_us = depth.oldest_us;
        (void)json_object_set_new(streams, queue_priority_name((enum job_priority)i),
                                  json_pack("{s:I, s:I, s:o}", "depth", (json_int_t)depth.waiting,
                                            "pending", (json_int_t)depth.pending, "oldest_at",
                                            job_time_json(depth.oldest_us)));
    }
    (void)json_object_set_new(out, "depth", json_integer(sum.waiting));
    (void)json_object_set_new(out, "pending", json_integer(sum.pending));
    (void)json_object_set_new(out, "stream_oldest_at", job_time_json(sum.oldest_us));
    (void)json_object_set(out, "streams", streams);
    return true;
}

static json_t *queue_json(const struct jobs_queue *queue)
{
    return json_pack("{s:s, s:n, s:n, s:n, s:n, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:n}",
                     "name", queue->name, "depth", "pending", "stream_oldest_at", "streams",
                     "waiting", sum_json(queue->waiting), "parked", sum_json(queue->parked),
                     "scheduled", sum_json(queue->scheduled), "started", sum_json(queue->started),
                     "dead", sum_json(queue->dead), "oldest_at", job_time_json(queue->oldest_us),
                     "paused_at", job_time_json(queue->paused_us), "retries", 0, "limit");
}

static void add_retries(json_t *queues, const struct db_result *rows)
{
    for (int row = 0; row < db_rows(rows); row++)
        for (size_t i = 0; i < json_array_size(queues); i++) {
            json_t *queue = json_array_get(queues, i);
            const char *name = json_string_value(json_object_get(queue, "name"));

            if (name && strcmp(name, db_text(rows, row, 0)) == 0)
                (void)json_object_set_new(queue, "retries", json_integer(db_int(rows, row, 1)));
        }
}

/* What an admin has set for each; of the queues without a limit it stays null. */
static enum err_code add_limits(struct db *db, json_t *queues, struct err *e)
{
    AUTO_VALUE(limit_list_release) struct limit_list list = {0};
    enum err_code rc = limits_list(db, &list, e);

    for (size_t n = 0; !rc && n < list.count; n++)
        for (size_t i = 0; list.items[n].scope == LIMIT_QUEUE && i < json_array_size(queues); i++) {
            json_t *queue = json_array_get(queues, i);
            const char *name = json_string_value(json_object_get(queue, "name"));

            if (name && strcmp(name, list.items[n].name) == 0)
                (void)json_object_set_new(queue, "limit", limit_json(&list.items[n]));
        }
    return rc;
}

static bool is_online(const json_t *worker)
{
    return json_is_true(json_object_get(worker, "is_alive"));
}

/* Those that workers read, be nothing known of them in PostgreSQL. */
static void add_read(struct jobs_queues *found, const json_t *workers)
{
    for (size_t i = 0; i < json_array_size(workers); i++) {
        const json_t *worker = json_array_get(workers, i);
        const json_t *queues = json_object_get(worker, "queues");

        for (size_t k = 0; is_online(worker) && k < json_array_size(queues); k++) {
            const char *name = json_string_value(json_array_get(queues, k));

            if (name)
                jobs_queues_add(found, name);
        }
    }
}

/* How many workers that take work read the queue. */
static int consumers_of(const json_t *workers, const char *queue)
{
    int count = 0;

    for (size_t i = 0; i < json_array_size(workers); i++) {
        const json_t *worker = json_array_get(workers, i);
        const json_t *queues = json_object_get(worker, "queues");
        const char *state = json_string_value(json_object_get(worker, "state"));
        bool reads = false;

        if (!is_online(worker) || !state || strcmp(state, "running") != 0)
            continue;
        for (size_t k = 0; k < json_array_size(queues) && !reads; k++) {
            const char *name = json_string_value(json_array_get(queues, k));

            reads = name && strcmp(name, queue) == 0;
        }
        count += reads;
    }
    return count;
}

static json_t *consumers_json(const json_t *workers, const char *queue)
{
    return json_is_true(json_object_get(workers, "redis"))
               ? json_integer(consumers_of(json_object_get(workers, "workers"), queue))
               : json_null();
}

enum err_code queues_gather(struct dashboard_thread *thread, json_t **ret_workers,
                            json_t **ret_value, struct err *e)
{
    AUTO_VALUE(jobs_queues_release) struct jobs_queues found = {0};
    AUTO(db_result_free) struct db_result *retrying = NULL;
    AUTO(json_decref) json_t *workers = NULL;
    AUTO(json_decref) json_t *queues = json_array();
    bool has_redis = queue_ping(thread->redis, NULL) == ERR_OK;
    enum err_code rc = workers_gather(thread, &workers, e);

    if (!rc)
        rc = jobs_list_queues(thread->db, &found, e);
    if (!rc)
        rc = jobs_list_retrying(thread->db, &retrying, e);
    if (rc)
        return rc;
    add_read(&found, json_object_get(workers, "workers"));
    for (size_t i = 0; i < found.count; i++) {
        json_t *queue = queue_json(&found.items[i]);

        has_redis = has_redis && add_streams(thread->redis, found.items[i].name, queue);
        (void)json_object_set_new(queue, "consumers", consumers_json(workers, found.items[i].name));
        (void)json_array_append_new(queues, queue);
    }
    add_retries(queues, retrying);
    rc = add_limits(thread->db, queues, e);
    if (rc)
        return rc;
    *ret_value = json_pack("{s:b, s:O}", "redis", has_redis, "queues", queues);
    if (!*ret_value)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (ret_workers)
        *ret_workers = TAKE(workers);
    return ERR_OK;
}

static enum err_code make_queues(struct request *req, struct reply *reply, struct err *e)
{
    json_t *value = NULL;
    enum err_code rc = queues_gather(thread_of(req), NULL, &value, e);

    return rc ? rc : reply_json(reply, 200, value, e);
}

enum err_code queues_list(struct request *req, struct reply *reply, struct err *e)
{
    return shared_get(req, make_queues, reply, e);
}
