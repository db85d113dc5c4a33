/* SPDX-License-Identifier: MIT
 *
 * What the pages do to tasks: revoke, terminate, retry, run now; one, some, or all that match a
 * filter, page by page. Some and all can be run again as they are, too (replay.c).
 */
#include <string.h>

#include "api/dashboard/actions.h"
#include "api/dashboard/change.h"
#include "api/dashboard/dashboard.h"
#include "common/clock.h"
#include "common/flows.h"
#include "common/job_json.h"
#include "common/jobs_control.h"
#include "common/jobs_desk.h"
#include "common/jobs_heal.h"
#include "common/json.h"
#include "common/mem.h"

enum {
    BODY_MAX = 1024 * 1024,
    IDS_MAX = 1000, /* of one request */
};

enum err_code read_body(const struct request *req, json_t **ret_body, struct err *e)
{
    json_t *body = NULL;
    enum err_code rc;

    if (req->body_len == 0) {
        *ret_body = json_object();
        return ERR_OK;
    }
    if (!request_has_type(req, "application/json"))
        return err_set(e, ERR_INVALID, "the body is JSON: send Content-Type: application/json");
    rc = json_read(req->body, req->body_len, BODY_MAX, &body, e);
    if (rc)
        return rc;
    if (!json_is_object(body)) {
        json_decref(body);
        return err_set(e, ERR_INVALID, "the body is a JSON object");
    }
    *ret_body = body;
    return ERR_OK;
}

/* ---- one ---- */

static const char *past_of(enum change change)
{
    switch (change) {
    case CHANGE_RETRY:
        return "retried";
    case CHANGE_TERMINATE:
        return "terminated";
    case CHANGE_DELETE:
        return "deleted";
    case CHANGE_RUN:
        return "run now";
    case CHANGE_REPLAY:
    case CHANGE_REVOKE:
        break;
    }
    return "revoked";
}

/* Why one that waits cannot run now. */
static enum err_code refuse_to_run(struct request *req, const struct uuid *id, struct err *e)
{
    AUTO_VALUE(job_detail_release) struct job_detail detail = {0};
    enum err_code rc = jobs_find(thread_of(req)->db, id, &detail, e);

    if (rc)
        return rc;
    return err_set(e, ERR_CONFLICT, "a task %s cannot be run now",
                   detail.job.waits         ? "that waits for others of its flow"
                   : detail.job.parked_on   ? "that waits for a place or its turn under a limit"
                   : detail.job.enqueued_us ? "that is ready already, and waits for a worker,"
                                            : "that is just changing");
}

static enum err_code refuse(struct request *req, enum change change, const struct uuid *id,
                            struct err *e)
{
    AUTO(mem_free) char *why = NULL;
    enum job_state state;
    enum err_code rc = jobs_state_of(thread_of(req)->db, id, &state, e);

    if (!rc && change == CHANGE_RETRY)
        rc = jobs_why_not_requeued(thread_of(req)->db, id, &why, e);
    if (rc)
        return rc;
    if (why)
        return err_set(e, ERR_CONFLICT, "the task cannot be retried: %s", why);
    if (change == CHANGE_DELETE && state == JOB_FAILURE)
        return err_set(e, ERR_CONFLICT,
                       "a task of a flow that is not over cannot be deleted: cancel the flow, or"
                       " wait for its end");
    if (change == CHANGE_RUN && (state == JOB_PENDING || state == JOB_RETRY))
        return refuse_to_run(req, id, e);
    return err_set(e, ERR_CONFLICT, "a task in state %s cannot be %s", job_state_name(state),
                   past_of(change));
}

static enum err_code change_one(struct request *req, struct reply *reply, enum change change,
                                struct err *e)
{
    AUTO(db_result_free) struct db_result *waiting = NULL;
    struct uuid id;
    size_t changed = 0;
    enum err_code rc;

    if (!uuid_parse(request_param(req, 0), &id))
        return err_set(e, ERR_NOT_FOUND, "there is no such task");
    rc = change_some(req, change, NULL, &id, 1, &changed, e);
    if (!rc && !changed)
        rc = refuse(req, change, &id, e);
    if (!rc && change == CHANGE_RETRY)
        rc = flows_waits_for(thread_of(req)->db, &id, 1, &waiting, e);
    if (rc)
        return rc;
    if (waiting && db_rows(waiting) > 0)
        return reply_json(
            reply, 200,
            json_pack("{s:i, s:s}", "changed", 1, "waits_for",
                      db_is_null(waiting, 0, 1) ? "others of its flow" : db_text(waiting, 0, 1)),
            e);
    return reply_json(reply, 200, json_pack("{s:i}", "changed", 1), e);
}

enum err_code task_run(struct request *req, struct reply *reply, struct err *e)
{
    return change_one(req, reply, CHANGE_RUN, e);
}

enum err_code task_revoke(struct request *req, struct reply *reply, struct err *e)
{
    return change_one(req, reply, CHANGE_REVOKE, e);
}

enum err_code task_terminate(struct request *req, struct reply *reply, struct err *e)
{
    return change_one(req, reply, CHANGE_TERMINATE, e);
}

enum err_code task_retry(struct request *req, struct reply *reply, struct err *e)
{
    return change_one(req, reply, CHANGE_RETRY, e);
}

enum err_code task_delete(struct request *req, struct reply *reply, struct err *e)
{
    return change_one(req, reply, CHANGE_DELETE, e);
}

/* ---- some, and all that match ---- */

/* What one request asks for, and what has come of it so far. */
struct order {
    enum change change;
    struct uuid id; /* of a replay, in all its requests: nothing is run again twice by it */
    size_t changed;
    size_t waiting; /* of these, for others of their flows */
    struct replay_count replayed;
};

static enum err_code read_order(struct request *req, const json_t *body, struct order *order,
                                struct err *e)
{
    const char *id = json_member_text(body, "order");
    enum err_code rc = read_change(req, body, &order->change, e);

    if (rc)
        return rc;
    if (id && !uuid_parse(id, &order->id))
        return err_set(e, ERR_INVALID, "order is a UUID");
    if (!id)
        order->id = uuid_v4();
    return ERR_OK;
}

/* Members of flows that were retried before their turn. */
static enum err_code count_waiting(struct request *req, struct order *order, const struct uuid *ids,
                                   size_t count, struct err *e)
{
    AUTO(db_result_free) struct db_result *waiting = NULL;
    enum err_code rc = flows_waits_for(thread_of(req)->db, ids, count, &waiting, e);

    if (!rc)
        order->waiting += (size_t)db_rows(waiting);
    return rc;
}

/* Those that wait for others of their flow, and then the rest. */
static enum err_code revoke_some(struct request *req, struct order *order, const char *target,
                                 struct uuid *ids, size_t count, struct err *e)
{
    size_t first = 0;
    size_t changed = 0;
    enum err_code rc = flows_waiting_first(thread_of(req)->db, ids, count, &first, e);

    if (!rc && first > 0)
        rc = change_some(req, order->change, target, ids, first, &changed, e);
    order->changed += changed;
    changed = 0;
    if (!rc && first < count)
        rc = change_some(req, order->change, target, ids + first, count - first, &changed, e);
    order->changed += changed;
    return rc;
}

static enum err_code order_some(struct request *req, struct order *order, const char *target,
                                struct uuid *ids, size_t count, struct err *e)
{
    size_t changed = 0;
    enum err_code rc;

    if (order->change == CHANGE_REVOKE || order->change == CHANGE_TERMINATE)
        return revoke_some(req, order, target, ids, count, e);

    if (order->change == CHANGE_REPLAY) {
        rc = replay_some(req, target, &order->id, ids, count, &order->replayed, e);
        order->changed = order->replayed.made;
        return rc;
    }
    rc = change_some(req, order->change, target, ids, count, &changed, e);
    order->changed += changed;
    return rc || order->change != CHANGE_RETRY ? rc : count_waiting(req, order, ids, count, e);
}

static enum err_code change_ids(struct request *req, struct order *order, const json_t *given,
                                struct err *e)
{
    size_t count = json_array_size(given);
    AUTO(mem_free) struct uuid *ids = mem_array(count + 1, sizeof ids[0]);
    enum err_code rc = ERR_OK;

    if (count == 0 || count > IDS_MAX)
        return err_set(e, ERR_INVALID, "ids are 1 to %d UUIDs", IDS_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(given, i));

        if (!text || !uuid_parse(text, &ids[i]))
            return err_set(e, ERR_INVALID, "ids are UUIDs");
    }
    for (size_t at = 0; !rc && at < count; at += CHANGE_BATCH)
        rc = order_some(req, order, NULL, ids + at,
                        count - at < CHANGE_BATCH ? count - at : CHANGE_BATCH, e);
    return rc;
}

static enum err_code read_times(const json_t *given, struct jobs_filter *filter, struct err *e)
{
    const struct {
        const char *name;
        int64_t *value;
    } times[] = {{"from", &filter->created_from_us},
                 {"to", &filter->created_to_us},
                 {"due_from", &filter->due_from_us},
                 {"due_to", &filter->due_to_us}};
    enum err_code rc = ERR_OK;

    for (size_t i = 0; !rc && i < COUNT_OF(times); i++) {
        const json_t *value = json_object_get(given, times[i].name);

        rc = value && !json_is_string(value)
                 ? err_set(e, ERR_INVALID, "%s is a text", times[i].name)
                 : jobs_filter_time(times[i].name, json_string_value(value), times[i].value, e);
    }
    return rc;
}

static enum err_code read_filter(const json_t *given, const json_t *cursor,
                                 struct job_search *search, struct jobs_filter *ret_filter,
                                 struct err *e)
{
    const char *state = json_member_text(given, "state");
    const char *words = json_member_text(given, "search");
    struct jobs_filter filter = {.task = json_member_text(given, "task"),
                                 .queue = json_member_text(given, "queue"),
                                 .worker = json_member_text(given, "worker"),
                                 .text = json_member_text(given, "text"),
                                 .cursor = json_string_value(cursor),
                                 .limit = CHANGE_BATCH};
    enum job_state parsed;

    if (!state || !job_state_parse(state, &parsed))
        return err_set(e, ERR_INVALID, "a filter for an action has a state");
    filter.state = (int)parsed;
    if (read_times(given, &filter, e))
        return ERR_INVALID;
    *ret_filter = filter;
    return words && *words ? job_search_take(words, search, ret_filter, e) : ERR_OK;
}

static void describe(const json_t *given, struct buf *out)
{
    AUTO(mem_free) char *text = json_write(given);

    buf_addf(out, "all that match %s", text ? text : "");
}

/* Goes down the list for as long as there is time. */
static enum err_code change_matching(struct request *req, struct order *order, const json_t *given,
                                     const json_t *cursor, char ret_next[JOBS_CURSOR_SIZE],
                                     struct err *e)
{
    AUTO_VALUE(job_search_release) struct job_search search = {0};
    AUTO_VALUE(buf_release) struct buf target;
    int64_t end_us = clock_mono_us() + CHANGE_BUDGET_MS * US_PER_MS;
    struct jobs_filter filter = {0};
    enum err_code rc = read_filter(given, cursor, &search, &filter, e);

    buf_init(&target, 2048);
    describe(given, &target);
    while (!rc) {
        AUTO_VALUE(jobs_page_release) struct jobs_page page = {0};
        AUTO(mem_free) struct uuid *ids = NULL;

        rc = jobs_list(thread_of(req)->db, &filter, &page, e);
        if (rc)
            break;
        ids = mem_array(page.count + 1, sizeof ids[0]);
        for (size_t i = 0; i < page.count; i++)
            ids[i] = page.items[i].id;
        if (page.count > 0)
            rc = order_some(req, order, target.data, ids, page.count, e);
        jobs_cursor(&filter, &page, ret_next);
        filter.cursor = ret_next;
        if (!*ret_next || clock_mono_us() > end_us)
            break;
    }
    return rc;
}

static json_t *answer_json(const struct order *order, const char *next)
{
    json_t *out = json_pack("{s:I, s:s?}", "changed", (json_int_t)order->changed, "next",
                            *next ? next : NULL);

    if (order->change == CHANGE_RETRY)
        (void)json_object_set_new(out, "waiting", json_integer((json_int_t)order->waiting));
    if (order->change == CHANGE_REPLAY) {
        (void)json_object_set_new(out, "skipped", replay_skipped_json(order->replayed.skipped));
        (void)json_object_set_new(out, "order", json_string(order->id.text));
    }
    return out;
}

enum err_code tasks_change(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *body = NULL;
    struct order order = {0};
    char next[JOBS_CURSOR_SIZE] = "";
    enum err_code rc = read_body(req, &body, e);

    if (!rc)
        rc = read_order(req, body, &order, e);
    if (rc)
        return rc;
    if (json_is_array(json_object_get(body, "ids")))
        rc = change_ids(req, &order, json_object_get(body, "ids"), e);
    else if (json_is_object(json_object_get(body, "filter")))
        rc = change_matching(req, &order, json_object_get(body, "filter"),
                             json_object_get(body, "cursor"), next, e);
    else
        rc = err_set(e, ERR_INVALID, "the body has ids or a filter");
    return rc ? rc : reply_json(reply, 200, answer_json(&order, next), e);
}
