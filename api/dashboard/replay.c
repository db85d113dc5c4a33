/* SPDX-License-Identifier: MIT
 *
 * Running a task again: a new task that knows which one it was made from. One at a time with other
 * args: what the page showed as redacted and sends back as it was is put back from the original; a
 * secret is never replaced by the word that hides it. Many at a time as they are.
 */
#include <string.h>

#include "api/dashboard/act.h"
#include "api/dashboard/actions.h"
#include "api/dashboard/change.h"
#include "api/dashboard/dashboard.h"
#include "common/crashpoint.h"
#include "common/job_json.h"
#include "common/job_list.h"
#include "common/job_replays.h"
#include "common/jobs.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/redact.h"

enum { VALUE_MAX = 1024 * 1024, ATTEMPTS_MAX = 1000 };

/* `given` with what `shown` hides of `real` put back. A new value; NULL: the error says why. */
static json_t *restore(const json_t *given, const json_t *shown, const json_t *real, struct err *e)
{
    if (json_is_string(given) && strstr(json_string_value(given), REDACTED)) {
        if (shown && json_equal(given, shown) && real)
            return json_deep_copy(real);
        (void)err_set(e, ERR_INVALID, "\"%.60s\" is not where it was: type the value that it hides",
                      json_string_value(given));
        return NULL;
    }
    if (json_is_array(given)) {
        json_t *out = json_array();

        for (size_t i = 0; out && i < json_array_size(given); i++) {
            json_t *one = restore(json_array_get(given, i), json_array_get(shown, i),
                                  json_array_get(real, i), e);

            if (!one || json_array_append_new(out, one)) {
                json_decref(out);
                return NULL;
            }
        }
        return out;
    }
    if (json_is_object(given)) {
        json_t *out = json_object();
        const char *name;
        json_t *value;

        json_object_foreach((json_t *)(uintptr_t)given, name, value)
        {
            json_t *one =
                restore(value, json_object_get(shown, name), json_object_get(real, name), e);

            if (!one || json_object_set_new(out, name, one)) {
                json_decref(out);
                return NULL;
            }
        }
        return out;
    }
    return json_deep_copy(given);
}

/* The JSON text of args or kwargs for the new task: the original's when none was given. */
static enum err_code take_value(const json_t *given, const char *original, const json_t *shown,
                                char **ret_text, struct err *e)
{
    AUTO(json_decref) json_t *real = NULL;
    AUTO(json_decref) json_t *value = NULL;
    enum err_code rc;

    if (!given) {
        *ret_text = mem_dup(original);
        return ERR_OK;
    }
    rc = json_read(original, strlen(original), VALUE_MAX, &real, e);
    if (rc)
        return rc;
    value = restore(given, shown, real, e);
    if (!value)
        return err_set(e, ERR_INVALID, "args or kwargs cannot be used");
    *ret_text = json_write(value);
    return ERR_OK;
}

static enum err_code insert(struct request *req, const struct uuid *parent,
                            const struct job_new *job, struct job_ready *ret_ready, struct err *e)
{
    AUTO_VALUE(act_release) struct act act = {0};
    struct db *db = thread_of(req)->db;
    enum err_code rc = act_begin(&act, req, "task.replay", job->id.text, e);

    if (!rc)
        rc = jobs_insert(db, job, ret_ready, e);
    if (!rc)
        rc = job_replays_add(db, &job->id, parent, req->user.name, e);
    if (!rc)
        rc = act_commit(&act, ACT_DONE,
                        json_pack("{s:s, s:s}", "of", parent->text, "task", job->task), e);
    return rc;
}

/* As many as the original may have, without those that a snooze has given it. */
static int attempts_of(const struct job_detail *detail)
{
    int attempts = detail->job.max_attempts - detail->snoozes;

    return attempts < 1 ? 1 : attempts > ATTEMPTS_MAX ? ATTEMPTS_MAX : attempts;
}

static enum err_code replay(struct request *req, const struct uuid *parent, const json_t *body,
                            struct uuid *ret_id, struct err *e)
{
    AUTO_VALUE(job_detail_release) struct job_detail detail = {0};
    AUTO(mem_free) char *args = NULL;
    AUTO(mem_free) char *kwargs = NULL;
    const char *queue = json_member_text(body, "queue");
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
    struct job_ready ready = {0};
    struct job_new job = {0};
    struct err problem = {0};
    enum err_code rc = jobs_find(thread_of(req)->db, parent, &detail, e);

    if (rc)
        return rc;
    if (detail.job.payload)
        return err_set(e, ERR_CONFLICT, "a task that could not be decoded cannot be run again");
    job_shown_make(&detail.job, &shown);
    rc = take_value(json_object_get(body, "args"), detail.job.args, shown.args, &args, e);
    if (!rc)
        rc = take_value(json_object_get(body, "kwargs"), detail.job.kwargs, shown.kwargs, &kwargs,
                        e);
    if (rc)
        return rc;
    job = (struct job_new){.id = uuid_v7(),
                           .task = detail.job.task,
                           .queue = queue ? queue : detail.job.queue,
                           .priority = detail.job.priority,
                           .args = args,
                           .kwargs = kwargs,
                           .max_attempts = attempts_of(&detail),
                           .limit_key = detail.job.limit_key,
                           .headers = detail.job.headers,
                           .traceparent = detail.job.traceparent,
                           .retention_s = detail.job.retention_s};
    rc = insert(req, parent, &job, &ready, e);
    if (rc)
        return rc;
    CRASH_POINT("dashboard.replayed");
    if (ready.is_ready &&
        job_list_push(&(struct job_list){&ready, 1}, thread_of(req)->redis, &problem))
        log_warn("push_failed", L_ERR(&problem));
    *ret_id = ready.id;
    return ERR_OK;
}

enum err_code task_replay(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *body = NULL;
    struct uuid parent;
    struct uuid id;
    enum err_code rc;

    if (!uuid_parse(request_param(req, 0), &parent))
        return err_set(e, ERR_NOT_FOUND, "there is no such task");
    rc = read_body(req, &body, e);
    if (!rc)
        rc = replay(req, &parent, body, &id, e);
    return rc ? rc : reply_json(reply, 201, json_pack("{s:s}", "id", id.text), e);
}

/* ---- many ---- */

json_t *replay_skipped_json(const size_t skipped[REPLAY_SKIP_COUNT])
{
    json_t *out = json_object();

    for (int i = 0; i < REPLAY_SKIP_COUNT; i++)
        if (skipped[i] > 0)
            (void)json_object_set_new(out, replay_skip_name((enum replay_skip)i),
                                      json_integer((json_int_t)skipped[i]));
    return out;
}

enum err_code replay_some(struct request *req, const char *target, const struct uuid *order,
                          const struct uuid *ids, size_t count, struct replay_count *counted,
                          struct err *e)
{
    AUTO_VALUE(act_release) struct act act = {0};
    AUTO_VALUE(replayed_release) struct replayed made = {0};
    struct db *db = thread_of(req)->db;
    struct err problem = {0};
    enum err_code rc = act_begin(&act, req, "task.replay", target ? target : ids[0].text, e);

    if (!rc)
        rc = job_replays_make(db, ids, count, order, req->user.name, &made, e);
    if (!rc)
        rc = act_commit(&act, made.ready.count ? ACT_DONE : ACT_NOTHING,
                        json_pack("{s:I, s:I, s:o, s:s}", "asked", (json_int_t)count, "changed",
                                  (json_int_t)made.ready.count, "skipped",
                                  replay_skipped_json(made.skipped), "order", order->text),
                        e);
    if (rc)
        return rc;
    counted->made += made.ready.count;
    for (int i = 0; i < REPLAY_SKIP_COUNT; i++)
        counted->skipped[i] += made.skipped[i];
    CRASH_POINT("dashboard.replayed_many");
    if (job_list_push(&made.ready, thread_of(req)->redis, &problem))
        log_warn("push_failed", L_ERR(&problem));
    return ERR_OK;
}

/* ---- lineage ---- */

/* `parent_id`, `root_id`, `made_by` and `replays` of a task, added to its JSON. */
enum err_code replay_describe(struct db *db, const struct uuid *id, json_t *out, struct err *e)
{
    AUTO(db_result_free) struct db_result *origin = NULL;
    AUTO(db_result_free) struct db_result *copies = NULL;
    json_t *ids;
    bool is_copy;
    enum err_code rc = job_replays_find(db, id, &origin, e);

    if (!rc)
        rc = job_replays_list(db, id, &copies, e);
    if (rc)
        return rc;
    is_copy = db_rows(origin) > 0;
    ids = json_array();
    for (int i = 0; i < db_rows(copies); i++)
        (void)json_array_append_new(ids, json_string(db_text(copies, i, 0)));
    (void)json_object_set_new(out, "parent_id",
                              is_copy ? json_string(db_text(origin, 0, 0)) : json_null());
    (void)json_object_set_new(out, "root_id",
                              is_copy ? json_string(db_text(origin, 0, 1)) : json_null());
    (void)json_object_set_new(out, "made_by",
                              is_copy ? json_string(db_text(origin, 0, 2)) : json_null());
    (void)json_object_set_new(out, "replays", ids);
    return ERR_OK;
}
