/* SPDX-License-Identifier: MIT
 *
 * Flows: their list, one with its members, and cancelling it.
 */
#include <string.h>
#include <time.h>

#include "api/dashboard/act.h"
#include "api/dashboard/dashboard.h"
#include "api/dashboard/shared.h"
#include "common/clock.h"
#include "common/flow_json.h"
#include "common/flows.h"
#include "common/mem.h"
#include "common/text.h"

enum { PAGE = 50, MEMBERS = 500, CANCEL_BATCH = 500, BUDGET_MS = 4000, PAUSE_MS = 5 };

static enum err_code make_flows(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(flows_page_release) struct flows_page page = {0};
    AUTO(mem_free) char *cursor = request_query(req, "cursor");
    AUTO(mem_free) char *open = request_query(req, "open");
    const struct flows_filter filter = {
        .open_only = open && *open, .cursor = cursor && *cursor ? cursor : NULL, .limit = PAGE};
    json_t *flows;
    enum err_code rc = flows_list(thread_of(req)->db, &filter, &page, e);

    if (rc)
        return rc;
    flows = json_array();
    for (size_t i = 0; i < page.count; i++)
        (void)json_array_append_new(flows, flow_json(&page.items[i]));
    return reply_json(
        reply, 200,
        json_pack("{s:o, s:s?}", "flows", flows, "next", page.has_more ? page.next.text : NULL), e);
}

enum err_code flows_show(struct request *req, struct reply *reply, struct err *e)
{
    return shared_get(req, make_flows, reply, e);
}

/* False: there can be no such flow. */
static bool take_id(const struct request *req, struct uuid *ret_id)
{
    return uuid_parse(request_param(req, 0), ret_id);
}

enum err_code flow_show(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(flows_page_release) struct flows_page page = {0};
    AUTO_VALUE(flow_members_release) struct flow_members members = {0};
    AUTO(mem_free) char *after = request_query(req, "after");
    AUTO(mem_free) char *name = request_query(req, "state");
    enum job_state state = JOB_PENDING;
    bool any = !name || !*name;
    int64_t step = 0;
    struct uuid id;
    json_t *list;
    enum err_code rc;

    if (!take_id(req, &id))
        return err_set(e, ERR_NOT_FOUND, "there is no such flow");
    if (after && *after && !text_to_int(after, 0, INT64_MAX, &step))
        return err_set(e, ERR_INVALID, "after is a number");
    if (!any && !job_state_parse(name, &state))
        return err_set(e, ERR_INVALID, "there is no state \"%.40s\"", name);
    rc = flows_find(thread_of(req)->db, &id, &page, e);
    if (!rc)
        rc = flows_members(thread_of(req)->db, &id, step, any ? JOBS_ANY_STATE : (int)state,
                           MEMBERS, &members, e);
    if (rc)
        return rc;
    list = json_array();
    for (size_t i = 0; i < members.count; i++)
        (void)json_array_append_new(list, flow_member_json(&members.items[i]));
    return reply_json(reply, 200,
                      json_pack("{s:o, s:o, s:b}", "flow", flow_json(&page.items[0]), "members",
                                list, "has_more", members.has_more),
                      e);
}

static enum err_code begin_cancel(struct request *req, const struct uuid *id, struct err *e)
{
    AUTO_VALUE(act_release) struct act act = {0};
    enum err_code rc = act_begin(&act, req, "flow.cancel", id->text, e);

    if (!rc)
        rc = flows_begin_cancel(thread_of(req)->db, id, e);
    return rc ? rc : act_commit(&act, ACT_DONE, NULL, e);
}

enum err_code flow_cancel(struct request *req, struct reply *reply, struct err *e)
{
    const struct timespec pause = clock_timespec(PAUSE_MS * US_PER_MS);
    int64_t end_us = clock_mono_us() + BUDGET_MS * US_PER_MS;
    int64_t total = 0;
    int64_t left = 1;
    struct uuid id;
    enum err_code rc;

    if (!take_id(req, &id))
        return err_set(e, ERR_NOT_FOUND, "there is no such flow");
    rc = begin_cancel(req, &id, e);
    while (!rc && left > 0 && clock_mono_us() < end_us) {
        int64_t revoked = 0;

        rc = flows_go_on_cancelling(thread_of(req)->db, &id, CANCEL_BATCH, &revoked, &left, e);
        total += revoked;
        if (left > 0 && revoked == 0) /* what is left is just changing */
            (void)nanosleep(&pause, NULL);
    }
    return rc ? rc
              : reply_json(reply, 200,
                           json_pack("{s:I, s:b}", "changed", (json_int_t)total, "more", left > 0),
                           e);
}
