/* SPDX-License-Identifier: MIT
 *
 * The JSON form of flows; see flow_json.h. Owns nothing.
 */
#include "common/flow_json.h"

#include "common/job_json.h"

int flow_percent(const struct flow_view *flow)
{
    int64_t ended =
        flow->counts[JOB_SUCCESS] + flow->counts[JOB_FAILURE] + flow->counts[JOB_REVOKED];

    /* Of a flow that is over, members may have been pruned. */
    if (flow->finished_us || flow->total < 1)
        return 100;
    return ended < flow->total ? (int)(ended * 100 / flow->total) : 99;
}

json_t *flow_json(const struct flow_view *flow)
{
    json_t *counts = json_object();

    for (int i = 0; i < JOB_STATE_COUNT; i++)
        (void)json_object_set_new(counts, job_state_name((enum job_state)i),
                                  json_integer((json_int_t)flow->counts[i]));
    return json_pack(
        "{s:s, s:o, s:s, s:I, s:o, s:I, s:i, s:o, s:o, s:o}", "id", flow->id.text, "name",
        job_shown_text(NULL, flow->name), "state", job_state_name(flow->state), "total",
        (json_int_t)flow->total, "counts", counts, "waiting", (json_int_t)flow->waiting, "percent",
        flow_percent(flow), "created_at", job_time_json(flow->created_us), "finished_at",
        job_time_json(flow->finished_us), "cancelled_at", job_time_json(flow->cancelled_us));
}

json_t *flow_member_json(const struct flow_member *member)
{
    return json_pack("{s:s, s:I, s:s, s:s, s:s, s:b, s:s?, s:o, s:I, s:b, s:i, s:i, s:o, s:o, s:o}",
                     "id", member->id.text, "step", (json_int_t)member->step, "task", member->task,
                     "queue", member->queue, "state", job_state_name(member->state), "waits",
                     member->waits, "waits_for", member->waits_for, "from",
                     member->from < 0 ? json_null() : json_integer((json_int_t)member->from), "to",
                     (json_int_t)member->to, "on_completion", member->on_completion, "attempt",
                     member->attempt, "max_attempts", member->max_attempts, "error",
                     job_shown_text(NULL, member->error), "started_at",
                     job_time_json(member->started_us), "finished_at",
                     job_time_json(member->finished_us));
}

json_t *flow_members_json(const struct flow_members *members)
{
    json_t *items = json_array();

    for (size_t i = 0; i < members->count; i++)
        (void)json_array_append_new(items, flow_member_json(&members->items[i]));
    return json_pack("{s:o, s:o}", "members", items, "next",
                     members->has_more
                         ? json_integer((json_int_t)members->items[members->count - 1].step)
                         : json_null());
}
