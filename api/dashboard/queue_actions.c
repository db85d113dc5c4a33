/* SPDX-License-Identifier: MIT
 *
 * What the pages do to queues and workers: pause, resume, purge; quiet, resume, stop, restart, and
 * the size of a pool.
 */
#include <string.h>

#include "api/dashboard/act.h"
#include "api/dashboard/actions.h"
#include "api/dashboard/dashboard.h"
#include "common/clock.h"
#include "common/jobs_control.h"
#include "common/jobs_heal.h"
#include "common/json.h"
#include "common/text.h"
#include "common/worker_orders.h"

enum { PURGE_BATCH = 1000, BUDGET_MS = 4000 };

/* ---- queues ---- */

static enum err_code set_paused(struct request *req, struct reply *reply, bool paused,
                                struct err *e)
{
    AUTO_VALUE(act_release) struct act act = {0};
    const char *queue = request_param(req, 0);
    struct db *db = thread_of(req)->db;
    bool changed = false;
    enum err_code rc;

    if (!text_is_name(queue))
        return err_set(e, ERR_INVALID, "\"%.60s\" is no name of a queue", queue);
    rc = act_begin(&act, req, paused ? "queue.pause" : "queue.resume", queue, e);
    if (!rc)
        rc = paused ? queues_pause(db, queue, req->user.name, &changed, e)
                    : queues_resume(db, queue, &changed, e);
    if (!rc)
        rc = act_commit(&act, changed ? ACT_DONE : ACT_NOTHING, NULL, e);
    return rc ? rc
              : reply_json(reply, 200,
                           json_pack("{s:b, s:b}", "paused", paused, "changed", changed), e);
}

enum err_code queue_pause(struct request *req, struct reply *reply, struct err *e)
{
    return set_paused(req, reply, true, e);
}

enum err_code queue_resume(struct request *req, struct reply *reply, struct err *e)
{
    return set_paused(req, reply, false, e);
}

static enum err_code purge_batch(struct request *req, const char *queue, bool scheduled,
                                 int64_t until_us, int64_t *ret_count, struct err *e)
{
    AUTO_VALUE(act_release) struct act act = {0};
    enum err_code rc = act_begin(&act, req, "queue.purge", queue, e);

    if (!rc)
        rc = jobs_purge(thread_of(req)->db, queue, scheduled, until_us, PURGE_BATCH, ret_count, e);
    if (!rc)
        rc = act_commit(
            &act, *ret_count ? ACT_DONE : ACT_NOTHING,
            json_pack("{s:I, s:b}", "revoked", (json_int_t)*ret_count, "scheduled", scheduled), e);
    return rc;
}

enum err_code queue_purge(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *body = NULL;
    const char *queue = request_param(req, 0);
    int64_t end_us = clock_mono_us() + BUDGET_MS * US_PER_MS;
    int64_t until_us = 0;
    int64_t total = 0;
    int64_t found = PURGE_BATCH;
    bool scheduled;
    enum err_code rc = read_body(req, &body, e);

    if (rc)
        return rc;
    if (!text_is_name(queue))
        return err_set(e, ERR_INVALID, "\"%.60s\" is no name of a queue", queue);
    scheduled = json_is_true(json_object_get(body, "scheduled"));
    rc = jobs_server_time(thread_of(req)->db, &until_us, e);
    while (!rc && found == PURGE_BATCH && clock_mono_us() < end_us) {
        rc = purge_batch(req, queue, scheduled, until_us, &found, e);
        total += found;
    }
    return rc ? rc
              : reply_json(reply, 200,
                           json_pack("{s:I, s:b}", "changed", (json_int_t)total, "more",
                                     found == PURGE_BATCH),
                           e);
}

/* ---- workers ---- */

/* A number of the body; 0 when it is not there. */
static enum err_code take_number(const json_t *body, const char *name, int64_t min, int *ret_number,
                                 struct err *e)
{
    const json_t *value = json_object_get(body, name);

    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > WORKER_SLOTS_MAX)
        return err_set(e, ERR_INVALID, "%s is a number from %lld to %d", name, (long long)min,
                       WORKER_SLOTS_MAX);
    *ret_number = (int)json_integer_value(value);
    return ERR_OK;
}

static enum err_code give_order(struct db *db, const char *verb, const char *whom,
                                struct workers_found *found, const json_t *body, const char *by,
                                struct err *e)
{
    int n = 0;
    int max = 0;
    enum err_code rc;

    if (strcmp(verb, "quiet") == 0 || strcmp(verb, "resume") == 0)
        return workers_quiet(db, whom, *verb == 'q', by, e);
    if (strcmp(verb, "stop") == 0)
        return workers_stop(db, whom, by, e);
    if (strcmp(verb, "restart") == 0)
        return workers_restart(db, whom, by, e);
    if (strcmp(verb, "scale") == 0) {
        rc = take_number(body, "slots", 0, &n, e);
        return rc ? rc : workers_scale(db, whom, n, by, e);
    }
    if (strcmp(verb, "grow") == 0 || strcmp(verb, "shrink") == 0) {
        rc = take_number(body, "n", 1, &n, e);
        return rc ? rc : workers_grow(db, found, *verb == 'g' ? n : -n, by, e);
    }
    if (strcmp(verb, "autoscale") == 0) {
        rc = take_number(body, "min", 1, &n, e);
        if (!rc)
            rc = take_number(body, "max", 1, &max, e);
        return rc ? rc : workers_autoscale(db, whom, n, max, by, e);
    }
    if (strcmp(verb, "add-consumer") == 0 || strcmp(verb, "cancel-consumer") == 0) {
        const char *queue = json_member_text(body, "queue");

        return queue ? workers_consume(db, whom, queue, *verb == 'a', by, e)
                     : err_set(e, ERR_INVALID, "queue is the name of a queue");
    }
    return err_set(e, ERR_INVALID,
                   "order is quiet, resume, stop, restart, scale, grow, shrink, autoscale,"
                   " add-consumer or cancel-consumer");
}

enum err_code worker_order_give(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(workers_found_release) struct workers_found found = {0};
    AUTO_VALUE(act_release) struct act act = {0};
    AUTO(json_decref) json_t *body = NULL;
    const char *whom = request_param(req, 0);
    const char *verb;
    char action[40] = "worker.";
    enum err_code rc = read_body(req, &body, e);

    if (!rc)
        rc = workers_find(thread_of(req)->redis, whom, &found, e);
    if (rc)
        return rc;
    verb = json_member_text(body, "order");
    if (!verb || !text_is_name(verb) || !text_format(action, sizeof action, "worker.%.20s", verb))
        return err_set(e, ERR_INVALID, "the body has an order");
    rc = act_begin(&act, req, action, whom, e);
    if (!rc)
        rc = give_order(thread_of(req)->db, verb, whom, &found, body, req->user.name, e);
    if (rc == ERR_INVALID || rc == ERR_NOT_FOUND)
        act_why(&act, e->text);
    if (!rc)
        rc = act_commit(&act, ACT_DONE, json_incref(body), e);
    return rc ? rc : reply_json(reply, 200, json_pack("{s:s}", "ordered", verb), e);
}
