/* SPDX-License-Identifier: MIT
 *
 * Limits: of queues, tasks and keys, and how long tasks may run. Read by the page, set by admins;
 * the command line does the same through the same functions.
 */
#include <string.h>

#include "api/dashboard/act.h"
#include "api/dashboard/actions.h"
#include "api/dashboard/dashboard.h"
#include "api/dashboard/shared.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/limits_json.h"

enum { COUNTED_MAX = 50 }; /* counting what each holds back is a statement */

/* ---- reading ---- */

static enum err_code add_limits(struct db *db, json_t *into, struct err *e)
{
    AUTO_VALUE(limit_list_release) struct limit_list list = {0};
    enum err_code rc = limits_list(db, &list, e);

    for (size_t i = 0; !rc && i < list.count; i++) {
        const struct limit *limit = &list.items[i];
        struct limit_count count;

        if (i >= COUNTED_MAX) {
            (void)json_array_append_new(into, limit_json(limit));
            continue;
        }
        rc = limits_count(db, limit, &count, e);
        if (!rc)
            (void)json_array_append_new(into, limit_json_counted(limit, &count));
    }
    return rc;
}

static enum err_code add_time_limits(struct db *db, json_t *into, struct err *e)
{
    AUTO_VALUE(time_limit_list_release) struct time_limit_list list = {0};
    enum err_code rc = time_limits_list(db, false, &list, e);

    for (size_t i = 0; !rc && i < list.count; i++)
        (void)json_array_append_new(into, time_limit_json(&list.items[i]));
    return rc;
}

static enum err_code make_limits(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *limits = json_array();
    AUTO(json_decref) json_t *times = json_array();
    struct db *db = thread_of(req)->db;
    enum err_code rc = add_limits(db, limits, e);

    if (!rc)
        rc = add_time_limits(db, times, e);
    return rc ? rc
              : reply_json(reply, 200,
                           json_pack("{s:O, s:O}", "limits", limits, "time_limits", times), e);
}

enum err_code limits_show(struct request *req, struct reply *reply, struct err *e)
{
    return shared_get(req, make_limits, reply, e);
}

/* ---- setting ---- */

static enum err_code read_scope(const json_t *body, struct limit *limit, struct err *e)
{
    const char *scope = json_member_text(body, "scope");
    const char *name = json_member_text(body, "name");

    if (!scope || !limit_scope_parse(scope, &limit->scope))
        return err_set(e, ERR_INVALID, "scope is queue, task or key");
    if (!name || !text_format(limit->name, sizeof limit->name, "%s", name))
        return err_set(e, ERR_INVALID, "name is a text of at most %d bytes", JOB_NAME_MAX);
    return ERR_OK;
}

/* A whole number, or 0 for null and for what is not there. */
static enum err_code read_number(const json_t *body, const char *name, int64_t max,
                                 int64_t *ret_number, struct err *e)
{
    const json_t *value = json_object_get(body, name);

    if (!value || json_is_null(value))
        return ERR_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > max)
        return err_set(e, ERR_INVALID, "%s is a number from 1 to %lld", name, (long long)max);
    *ret_number = json_integer_value(value);
    return ERR_OK;
}

static enum err_code read_limit(const json_t *body, struct limit *limit, struct err *e)
{
    const json_t *rate = json_object_get(body, "rate");
    enum err_code rc = read_scope(body, limit, e);

    if (!rc)
        rc = read_number(body, "concurrency", LIMIT_CONCURRENCY_MAX, &limit->concurrency, e);
    if (!rc)
        rc = read_number(body, "burst", LIMIT_BURST_MAX, &limit->burst, e);
    if (rc)
        return rc;
    if (rate && !json_is_null(rate) &&
        (!json_is_string(rate) ||
         !limit_parse_rate(json_string_value(rate), &limit->rate, &limit->per_seconds)))
        return err_set(e, ERR_INVALID,
                       "rate is a number of tasks a second, minute or hour: 10/s, 600/m, 1000/h");
    if (limit->rate && !limit->burst)
        limit->burst = limit_default_burst(limit->rate, limit->per_seconds);
    return ERR_OK;
}

/* With neither concurrency nor rate the limit goes; what was parked for it runs. */
enum err_code limit_change(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *body = NULL;
    AUTO_VALUE(act_release) struct act act = {0};
    struct db *db = thread_of(req)->db;
    struct limit limit = {0};
    char target[JOB_NAME_MAX + 16];
    bool goes;
    bool changed = true;
    enum err_code rc = read_body(req, &body, e);

    if (!rc)
        rc = read_limit(body, &limit, e);
    if (rc)
        return rc;
    goes = !limit.concurrency && !limit.rate;
    if (!text_format(target, sizeof target, "%s %s", limit_scope_name(limit.scope), limit.name))
        return err_set(e, ERR_INVALID, "the name is too long");
    rc = act_begin(&act, req, goes ? "limit.delete" : "limit.set", target, e);
    if (!rc)
        rc = goes ? limits_delete(db, limit.scope, limit.name, &changed, e)
                  : limits_set(db, &limit, req->user.name, e);
    if (!rc)
        rc = act_commit(&act, changed ? ACT_DONE : ACT_NOTHING, limit_json(&limit), e);
    return rc ? rc : reply_json(reply, 200, json_pack("{s:b}", "changed", changed), e);
}

/* Seconds as milliseconds, or 0 for null and for what is not there. */
static enum err_code read_seconds(const json_t *body, const char *name, int64_t *ret_ms,
                                  struct err *e)
{
    const json_t *value = json_object_get(body, name);
    double seconds = json_number_value(value);

    if (!value || json_is_null(value))
        return ERR_OK;
    if (!json_is_number(value) || !(seconds >= 0.001) ||
        seconds > (double)TIME_LIMIT_MS_MAX / 1000.0)
        return err_set(e, ERR_INVALID, "%s is a number of seconds, a millisecond to a year", name);
    *ret_ms = (int64_t)(seconds * 1000.0 + 0.5);
    return ERR_OK;
}

/* With neither of them the task's own limits hold again. */
enum err_code time_limit_change(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *body = NULL;
    AUTO_VALUE(act_release) struct act act = {0};
    const char *task;
    int64_t soft_ms = 0;
    int64_t hard_ms = 0;
    enum err_code rc = read_body(req, &body, e);

    if (!rc)
        rc = read_seconds(body, "soft", &soft_ms, e);
    if (!rc)
        rc = read_seconds(body, "hard", &hard_ms, e);
    if (rc)
        return rc;
    task = json_member_text(body, "task");
    if (!task)
        return err_set(e, ERR_INVALID, "task is the name of a task");
    rc = act_begin(&act, req, "task.timeout", task, e);
    if (!rc)
        rc = time_limits_set(thread_of(req)->db, task, soft_ms, hard_ms, req->user.name, e);
    if (!rc)
        rc = act_commit(
            &act, ACT_DONE,
            json_pack("{s:I, s:I}", "soft_ms", (json_int_t)soft_ms, "hard_ms", (json_int_t)hard_ms),
            e);
    return rc ? rc : reply_json(reply, 200, json_pack("{s:b}", "changed", true), e);
}
