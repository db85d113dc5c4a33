/* SPDX-License-Identifier: MIT
 *
 * The body of a request to enqueue: args, kwargs, Celery's options and ours, as a job. The body is
 * JSON whatever its media type says, since `curl -d` says form. Pure.
 */
#include "api/dashboard/flower_options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/dashboard/flower.h"
#include "common/clock.h"
#include "common/job_options.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/queue.h"
#include "common/text.h"

enum { BODY_MAX = 1024 * 1024, RETRIES_MAX = 1000 };

#define SECONDS_MAX (100.0 * 366 * 86400)

void order_release(struct order *order)
{
    mem_free(order->args);
    mem_free(order->kwargs);
    mem_free(order->headers);
    json_decref(order->header_texts);
}

bool order_number(const json_t *value, double *ret_number)
{
    const char *text = json_string_value(value);
    char *end = NULL;

    if (json_is_number(value)) {
        *ret_number = json_number_value(value);
    } else if (text && *text) {
        *ret_number = strtod(text, &end);
        if (*end)
            return false;
    } else {
        return false;
    }
    return isfinite(*ret_number) && fabs(*ret_number) <= SECONDS_MAX;
}

void order_begin_at(struct order *order, int64_t now_us)
{
    if (order->countdown_us > 0)
        order->job.scheduled_us = now_us + order->countdown_us;
    if (order->has_expires_in)
        order->job.expires_us = now_us + order->expires_in_us;
}

static enum err_code take_countdown(struct order *order, const json_t *value, struct err *e)
{
    double seconds;

    if (!order_number(value, &seconds))
        return err_set(e, ERR_INVALID, "Invalid option: countdown is a number of seconds");
    if (seconds > 0)
        order->countdown_us = (int64_t)(seconds * (double)US_PER_S);
    return ERR_OK;
}

static enum err_code take_eta(struct order *order, const json_t *value, struct err *e)
{
    const char *text = json_string_value(value);

    if (!text || !flower_time(text, &order->job.scheduled_us))
        return err_set(e, ERR_INVALID,
                       "Invalid option: eta has the form YYYY-MM-DD HH:MM:SS.ffffff");
    return ERR_OK;
}

/* Seconds from now, or a time. */
static enum err_code take_expires(struct order *order, const json_t *value, struct err *e)
{
    const char *text = json_string_value(value);
    double seconds;

    if (order_number(value, &seconds)) {
        order->expires_in_us = (int64_t)(seconds * (double)US_PER_S);
        order->has_expires_in = true;
        return ERR_OK;
    }
    if (!text || !flower_time(text, &order->job.expires_us))
        return err_set(e, ERR_INVALID,
                       "Invalid option: expires is a number of seconds or a time of the form"
                       " YYYY-MM-DD HH:MM:SS.ffffff");
    return ERR_OK;
}

/* What is no text, Till keeps as its JSON text. */
static enum err_code take_headers(struct order *order, const json_t *value, struct err *e)
{
    const char *name;
    const json_t *one;

    if (!json_is_object(value))
        return err_set(e, ERR_INVALID, "Invalid option: headers is an object");
    for (void *at = json_object_iter((json_t *)(uintptr_t)value); at;
         at = json_object_iter_next((json_t *)(uintptr_t)value, at)) {
        AUTO(mem_free) char *text = NULL;

        name = json_object_iter_key(at);
        one = json_object_iter_value(at);
        text = json_is_string(one) ? mem_dup(json_string_value(one)) : json_write(one);
        if (strcmp(name, "traceparent") == 0 && json_is_string(one))
            order->job.traceparent = json_string_value(one);
        else
            (void)json_object_set_new(order->header_texts, name, json_string(text));
    }
    return ERR_OK;
}

static enum err_code take_limit(struct order *order, const char *header, const json_t *value,
                                struct err *e)
{
    char text[32];
    double seconds;

    if (!order_number(value, &seconds) || seconds < 0.001)
        return err_set(e, ERR_INVALID, "Invalid option: %s is a number of seconds", header);
    (void)snprintf(text, sizeof text, "%.3f", seconds);
    (void)json_object_set_new(order->header_texts, header, json_string(text));
    return ERR_OK;
}

static enum err_code take_time_limit(struct order *order, const json_t *value, struct err *e)
{
    return take_limit(order, JOB_HEADER_TIME_LIMIT, value, e);
}

static enum err_code take_soft_time_limit(struct order *order, const json_t *value, struct err *e)
{
    return take_limit(order, JOB_HEADER_SOFT_TIME_LIMIT, value, e);
}

/* As Celery takes it, an empty name is that of the task's own queue. */
static enum err_code take_queue(struct order *order, const json_t *value, struct err *e)
{
    const char *name = json_string_value(value);

    if (name && !*name)
        return ERR_OK;
    if (!name || !text_is_name(name))
        return err_set(e, ERR_INVALID, "Invalid option: queue is a name of letters, digits, _ . -");
    order->job.queue = name;
    return ERR_OK;
}

/* Celery's numbers with Redis: 0 is the most urgent of 10. */
static enum err_code take_priority(struct order *order, const json_t *value, struct err *e)
{
    const char *name = json_string_value(value);

    for (int i = 0; name && i < JOB_PRIORITY_COUNT; i++) {
        if (strcmp(name, queue_priority_name((enum job_priority)i)) == 0) {
            order->job.priority = (enum job_priority)i;
            return ERR_OK;
        }
    }
    if (json_is_integer(value) && json_integer_value(value) >= 0 &&
        json_integer_value(value) <= 9) {
        order->job.priority = json_integer_value(value) < 3   ? JOB_PRIORITY_HIGH
                              : json_integer_value(value) < 7 ? JOB_PRIORITY_NORMAL
                                                              : JOB_PRIORITY_LOW;
        return ERR_OK;
    }
    return err_set(e, ERR_INVALID,
                   "Invalid option: priority is 0 (most urgent) to 9, or high, normal, low");
}

static enum err_code take_id(struct order *order, const json_t *value, struct err *e)
{
    const char *text = json_string_value(value);

    if (!text || !uuid_parse(text, &order->job.id))
        return err_set(e, ERR_INVALID, "Invalid option: task_id is a UUID");
    return ERR_OK;
}

static enum err_code take_retries(struct order *order, const json_t *value, struct err *e)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > RETRIES_MAX)
        return err_set(e, ERR_INVALID, "Invalid option: retries is a number from 0 to %d",
                       RETRIES_MAX);
    order->retries = (int)json_integer_value(value);
    return ERR_OK;
}

static enum err_code take_max_retries(struct order *order, const json_t *value, struct err *e)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > RETRIES_MAX)
        return err_set(e, ERR_INVALID, "Invalid option: max_retries is a number from 0 to %d",
                       RETRIES_MAX);
    order->job.max_attempts = (int)json_integer_value(value) + 1;
    return ERR_OK;
}

/* A text; what may stand in it is judged with all other options of the job (job_options.h). */
static enum err_code take_text(const char *name, const json_t *value, const char **ret_text,
                               struct err *e)
{
    if (!json_is_string(value))
        return err_set(e, ERR_INVALID, "Invalid option: %s is a text", name);
    *ret_text = json_string_value(value);
    return ERR_OK;
}

static enum err_code take_duration(const char *name, const json_t *value, int64_t *ret_seconds,
                                   struct err *e)
{
    double seconds;

    if (!order_number(value, &seconds) || seconds < 1 || seconds > JOB_DURATION_MAX_S ||
        seconds != (double)(int64_t)seconds)
        return err_set(e, ERR_INVALID, "Invalid option: %s is a number of seconds from 1 to %d",
                       name, JOB_DURATION_MAX_S);
    *ret_seconds = (int64_t)seconds;
    return ERR_OK;
}

static enum err_code take_unique_key(struct order *order, const json_t *value, struct err *e)
{
    return take_text("unique_key", value, &order->job.unique_key, e);
}

static enum err_code take_unique_ttl(struct order *order, const json_t *value, struct err *e)
{
    return take_duration("unique_ttl", value, &order->job.unique_ttl_s, e);
}

static enum err_code take_on_conflict(struct order *order, const json_t *value, struct err *e)
{
    const char *name = json_string_value(value);

    if (!name || !job_conflict_parse(name, &order->job.on_conflict))
        return err_set(e, ERR_INVALID, "Invalid option: on_conflict is keep, replace or refuse");
    order->has_conflict = true;
    return ERR_OK;
}

static enum err_code take_limit_key(struct order *order, const json_t *value, struct err *e)
{
    return take_text("limit_key", value, &order->job.limit_key, e);
}

static enum err_code take_retention(struct order *order, const json_t *value, struct err *e)
{
    return take_duration("retention", value, &order->job.retention_s, e);
}

/* How long Flower's apply waits; the others have nothing to wait for. */
static enum err_code take_timeout(struct order *order, const json_t *value, struct err *e)
{
    double seconds;

    if (!order_number(value, &seconds))
        return err_set(e, ERR_INVALID, "Invalid timeout");
    order->has_timeout = true;
    order->timeout_us = seconds > 0 ? (int64_t)(seconds * (double)US_PER_S) : 0;
    return ERR_OK;
}

/* Options of Celery that say how a message travels, or what its logs show: here it is a row, so
 * they say nothing. */
static enum err_code take_nothing(struct order *order, const json_t *value, struct err *e)
{
    (void)order;
    (void)value;
    (void)e;
    return ERR_OK;
}

static const struct {
    const char *name;
    enum err_code (*take)(struct order *order, const json_t *value, struct err *e);
} options[] = {
    {"add_to_parent", take_nothing},
    {"argsrepr", take_nothing},
    {"compression", take_nothing},
    {"countdown", take_countdown},
    {"delivery_mode", take_nothing},
    {"eta", take_eta},
    {"exchange", take_nothing},
    {"expires", take_expires},
    {"group_id", take_nothing},
    {"group_index", take_nothing},
    {"headers", take_headers},
    {"ignore_result", take_nothing},
    {"kwargsrepr", take_nothing},
    {"limit_key", take_limit_key},
    {"mandatory", take_nothing},
    {"max_retries", take_max_retries},
    {"on_conflict", take_on_conflict},
    {"parent_id", take_nothing},
    {"priority", take_priority},
    {"queue", take_queue},
    {"replaced_task_nesting", take_nothing},
    {"reply_to", take_nothing},
    {"retention", take_retention},
    {"retries", take_retries},
    {"retry", take_nothing},
    {"retry_policy", take_nothing},
    {"root_id", take_nothing},
    {"route_name", take_nothing},
    {"routing_key", take_nothing},
    {"serializer", take_nothing},
    {"shadow", take_nothing},
    {"soft_time_limit", take_soft_time_limit},
    {"task_id", take_id},
    {"time_limit", take_time_limit},
    {"timeout", take_timeout},
    {"unique_key", take_unique_key},
    {"unique_ttl", take_unique_ttl},
};

static enum err_code take_options(struct order *order, json_t *given, struct err *e)
{
    const char *name;
    json_t *value;
    enum err_code rc = ERR_OK;

    json_object_foreach(given, name, value)
    {
        size_t i = 0;

        if (strcmp(name, "args") == 0 || strcmp(name, "kwargs") == 0 || json_is_null(value))
            continue;
        while (i < COUNT_OF(options) && strcmp(options[i].name, name) != 0)
            i++;
        order->wrong = i < COUNT_OF(options) ? options[i].name : NULL;
        if (i == COUNT_OF(options))
            return err_set(e, ERR_INVALID, "Invalid option: there is no option \"%.60s\"", name);
        rc = options[i].take(order, value, e);
        if (rc)
            return rc;
    }
    order->wrong = "unique_key";
    if (!order->job.unique_key && (order->has_conflict || order->job.unique_ttl_s))
        return err_set(e, ERR_INVALID,
                       "Invalid option: unique_ttl and on_conflict belong to unique_key");
    return ERR_OK;
}

static enum err_code write_headers(struct order *order, struct err *e)
{
    struct err problem = {0};

    if (json_object_size(order->header_texts) == 0)
        return ERR_OK;
    order->wrong = "headers";
    order->headers = json_write(order->header_texts);
    order->job.headers = order->headers;
    if (job_headers_check(order->headers, &problem))
        return err_set(e, ERR_INVALID, "Invalid option: %s", problem.text);
    return ERR_OK;
}

/* Reads the body. The texts in the job are borrowed from `given`. */
enum err_code order_read(const struct request *req, struct order *order, json_t **ret_given,
                         struct err *e)
{
    AUTO(json_decref) json_t *given = NULL;
    json_t *args;
    json_t *kwargs;
    enum err_code rc = ERR_OK;

    if (req->body_len > 0)
        rc = json_read(req->body, req->body_len, BODY_MAX, &given, e);
    else
        given = json_object();
    if (rc)
        return rc;
    if (!json_is_object(given))
        return err_set(e, ERR_INVALID, "invalid options");
    args = json_object_get(given, "args");
    kwargs = json_object_get(given, "kwargs");
    order->wrong = "args";
    if (args && !json_is_array(args))
        return err_set(e, ERR_INVALID, "args must be an array");
    /* As None is in Celery, and the empty array of a language that has no other empty map. */
    if (json_is_null(kwargs) || (json_is_array(kwargs) && json_array_size(kwargs) == 0))
        kwargs = NULL;
    order->wrong = "kwargs";
    if (kwargs && !json_is_object(kwargs))
        return err_set(e, ERR_INVALID, "kwargs must be an object");
    order->job.priority = JOB_PRIORITY_NORMAL;
    order->args = args ? json_write(args) : NULL;
    order->kwargs = kwargs ? json_write(kwargs) : NULL;
    order->job.args = order->args;
    order->job.kwargs = order->kwargs;
    order->header_texts = json_object();
    rc = take_options(order, given, e);
    if (!rc)
        rc = write_headers(order, e);
    if (!rc)
        *ret_given = TAKE(given);
    return rc;
}
