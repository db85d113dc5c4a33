/* SPDX-License-Identifier: MIT
 *
 * Flower's orders to tasks: revoke, abort, limits. As in Celery a plain revoke is for what has not
 * begun; with terminate it ends what runs, too, with its process if it must be; abort asks only.
 * It is kept in PostgreSQL and survives every restart.
 */
#include <stdlib.h>
#include <string.h>

#include "api/dashboard/act.h"
#include "api/dashboard/dashboard.h"
#include "api/dashboard/flower.h"
#include "common/jobs_control.h"
#include "common/jobs_desk.h"
#include "common/limits.h"
#include "common/mem.h"
#include "common/text.h"
#include "common/time_limits.h"
#include "common/worker_orders.h"

/* As Celery takes it: with SIG or without, or its number. */
static bool is_signal(const char *name)
{
    static const char *const signals[] = {"TERM", "KILL", "INT",  "QUIT",
                                          "HUP",  "USR1", "USR2", "ABRT"};
    int64_t number;

    if (text_to_int(name, 1, 64, &number))
        return true;

    if (strncmp(name, "SIG", 3) == 0)
        name += 3;
    for (size_t i = 0; i < COUNT_OF(signals); i++)
        if (strcmp(name, signals[i]) == 0)
            return true;
    return false;
}

/* One of the functions of common/jobs_control.h. */
typedef enum err_code revoker(struct db *db, const struct uuid *ids, size_t count,
                              bool *ret_revoked, struct err *e);

/* What cannot be revoked any more, or is not there, is no error: Flower cannot tell either. */
static enum err_code revoke(struct request *req, const char *action, revoker *by, struct err *e)
{
    AUTO_VALUE(act_release) struct act act = {0};
    struct db *db = thread_of(req)->db;
    struct uuid id;
    bool revoked = false;
    enum err_code rc = act_begin(&act, req, action, request_param(req, 0), e);

    if (!rc && uuid_parse(request_param(req, 0), &id))
        rc = by(db, &id, 1, &revoked, e);
    return rc ? rc : act_commit(&act, revoked ? ACT_DONE : ACT_NOTHING, NULL, e);
}

enum err_code flower_revoke(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(mem_free) char *number = flower_argument(req, "signal");
    bool terminate = false;
    enum err_code rc;

    if (!flower_bool(req, reply, "terminate", &terminate))
        return ERR_OK;
    if (number && *number && !is_signal(number))
        return flower_refuse(reply, 400,
                             "Invalid argument 'signal': SIGTERM, SIGKILL, SIGINT,"
                             " SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2 or SIGABRT");
    rc = terminate ? revoke(req, "task.terminate", jobs_terminate, e)
                   : revoke(req, "task.revoke", jobs_revoke_waiting, e);
    return rc ? rc : flower_message(reply, e, "Revoked '%s'", request_param(req, 0));
}

enum err_code flower_abort(struct request *req, struct reply *reply, struct err *e)
{
    enum err_code rc = revoke(req, "task.abort", jobs_revoke, e);

    return rc ? rc : flower_message(reply, e, "Aborted '%s'", request_param(req, 0));
}

/* ---- limits ---- */

/* Unknown tasks and workers are 404. False: the reply, or the error, says so. */
static bool find_both(struct request *req, struct reply *reply, const char *worker,
                      enum err_code *ret_rc, struct err *e)
{
    AUTO_VALUE(workers_found_release) struct workers_found found = {0};
    struct known_task task = {0};

    *ret_rc = tasks_find(thread_of(req)->db, request_param(req, 0), &task, e);
    if (*ret_rc)
        return false;
    if (!task.is_known) {
        (void)flower_refuse(reply, 404, "Unknown task '%s'", request_param(req, 0));
        return false;
    }
    *ret_rc = workers_find(thread_of(req)->redis, worker, &found, e);
    if (*ret_rc == ERR_NOT_FOUND || *ret_rc == ERR_INVALID) {
        *ret_rc = ERR_OK;
        err_clear(e);
        (void)flower_refuse(reply, 404, "Unknown worker '%.100s'", worker);
        return false;
    }
    return !*ret_rc;
}

/* Seconds as milliseconds; absent or 0: the task's own. False: the reply says what is wrong. */
static bool take_seconds(const struct request *req, struct reply *reply, const char *name,
                         int64_t *ret_ms)
{
    AUTO(mem_free) char *text = flower_argument(req, name);
    char *end = NULL;
    double seconds;

    if (!text)
        return true;
    seconds = strtod(text, &end);
    if (!*text || *end || !(seconds >= 0) || seconds > (double)TIME_LIMIT_MS_MAX / 1000.0) {
        (void)flower_refuse(reply, 400, "Invalid argument '%.40s' of type 'float'", text);
        return false;
    }
    *ret_ms = (int64_t)(seconds * 1000.0 + 0.5);
    return true;
}

static enum err_code set_times(struct request *req, int64_t soft_ms, int64_t hard_ms, struct err *e)
{
    AUTO_VALUE(act_release) struct act act = {0};
    const char *task = request_param(req, 0);
    enum err_code rc = act_begin(&act, req, "task.timeout", task, e);

    if (!rc)
        rc = time_limits_set(thread_of(req)->db, task, soft_ms, hard_ms, req->user.name, e);
    return rc ? rc
              : act_commit(&act, ACT_DONE,
                           json_pack("{s:I, s:I}", "soft_ms", (json_int_t)soft_ms, "hard_ms",
                                     (json_int_t)hard_ms),
                           e);
}

/* Celery's hold for one worker until it ends; ours for all, until they are set anew. */
enum err_code flower_timeout(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(mem_free) char *worker = NULL;
    int64_t soft_ms = 0;
    int64_t hard_ms = 0;
    struct err problem = {0};
    enum err_code rc;

    if (!flower_need(req, reply, "workername", &worker) ||
        !take_seconds(req, reply, "hard", &hard_ms) || !take_seconds(req, reply, "soft", &soft_ms))
        return ERR_OK;
    if (!find_both(req, reply, worker, &rc, e))
        return rc;
    rc = set_times(req, soft_ms, hard_ms, &problem);
    if (rc == ERR_INVALID)
        return flower_refuse(reply, 403, "Failed to set timeouts: '%s'", problem.text);
    if (rc) {
        *e = problem;
        return rc;
    }
    return flower_message(reply, e, "time limits set successfully");
}

/* Celery's "10/s", "600/m", "1000/h", "5" (a second), and "0" for no limit. Ours are whole numbers:
 * "1.5/s" is 90 a minute. */
static bool read_rate(const char *text, struct limit *limit)
{
    static const struct {
        char letter;
        int seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}};
    size_t len = strcspn(text, "/");
    size_t unit = 0;
    char number[LIMIT_RATE_SIZE];
    int64_t thousandths;

    if (strcmp(text, "0") == 0)
        return true;
    if (!text_format(number, sizeof number, "%.*s", (int)len, text) ||
        !text_to_ms(number, INT64_C(1000) * INT32_MAX, &thousandths))
        return false;
    while (text[len] && unit < COUNT_OF(units) && text[len + 1] != units[unit].letter)
        unit++;
    if (unit == COUNT_OF(units) || (text[len] && text[len + 2]))
        return false;
    for (; thousandths % 1000 && unit + 1 < COUNT_OF(units); unit++)
        thousandths *= 60;
    if (thousandths % 1000 || thousandths / 1000 > LIMIT_RATE_MAX)
        return false;
    limit->rate = thousandths / 1000;
    limit->per_seconds = units[unit].seconds;
    return true;
}

static enum err_code set_rate(struct request *req, const struct limit *limit, const char *text,
                              struct err *e)
{
    AUTO_VALUE(act_release) struct act act = {0};
    struct db *db = thread_of(req)->db;
    bool deleted;
    enum err_code rc = act_begin(&act, req, "task.rate-limit", limit->name, e);

    if (!rc && limit->rate == 0 && limit->concurrency == 0)
        rc = limits_delete(db, limit->scope, limit->name, &deleted, e);
    else if (!rc)
        rc = limits_set(db, limit, req->user.name, e);
    return rc ? rc : act_commit(&act, ACT_DONE, json_pack("{s:s}", "rate", text), e);
}

/* What else limits the task stays. */
static enum err_code keep_concurrency(struct db *db, struct limit *limit, struct err *e)
{
    AUTO_VALUE(limit_list_release) struct limit_list list = {0};
    enum err_code rc = limits_list(db, &list, e);

    for (size_t i = 0; !rc && i < list.count; i++)
        if (list.items[i].scope == limit->scope && strcmp(list.items[i].name, limit->name) == 0)
            limit->concurrency = list.items[i].concurrency;
    return rc;
}

/* Celery's rate holds for each worker; ours for all of them together, which no count of workers
 * makes wrong. */
enum err_code flower_rate_limit(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(mem_free) char *worker = NULL;
    AUTO(mem_free) char *text = NULL;
    struct limit limit = {.scope = LIMIT_TASK};
    struct err problem = {0};
    enum err_code rc;

    if (!flower_need(req, reply, "workername", &worker) ||
        !flower_need(req, reply, "ratelimit", &text))
        return ERR_OK;
    if (!find_both(req, reply, worker, &rc, e))
        return rc;
    if (!text_format(limit.name, sizeof limit.name, "%s", request_param(req, 0)))
        return ERR_OK;
    rc = keep_concurrency(thread_of(req)->db, &limit, e);
    if (rc)
        return rc;
    if (!read_rate(text, &limit))
        return flower_refuse(reply, 403,
                             "Failed to set rate limit: 'Invalid rate limit string: %.40s'", text);
    if (limit.rate > 0)
        limit.burst = limit_default_burst(limit.rate, limit.per_seconds);
    rc = set_rate(req, &limit, text, &problem);
    if (rc == ERR_INVALID || rc == ERR_CONFLICT)
        return flower_refuse(reply, 403, "Failed to set rate limit: '%s'", problem.text);
    if (rc) {
        *e = problem;
        return rc;
    }
    return flower_message(reply, e, "%s",
                          limit.rate ? "new rate limit set successfully"
                                     : "rate limit disabled successfully");
}
