/* SPDX-License-Identifier: MIT
 *
 * The success of a batch in the transaction of its effects; see settle.h.
 */
#include "common/crashpoint.h"
#include "common/jobs_succeed.h"
#include "common/log.h"
#include "worker/settle.h"

/* The fences of all that is done; whether each is ours. */
static enum err_code fence_many(struct task_batch *batch, bool *ret_all_ours, struct err *e)
{
    struct task_member *fenced[TASK_BATCH_MAX];
    struct attempt attempts[TASK_BATCH_MAX];
    const char *results[TASK_BATCH_MAX];
    bool ours[TASK_BATCH_MAX];
    bool have_places = false;
    size_t count = 0;
    enum err_code rc = ERR_OK;

    *ret_all_ours = true;
    for (size_t i = 0; i < batch->count; i++) {
        struct task_member *member = batch->members[i];

        if (task_is_marked(member) || item_is_fast(member->item))
            continue;
        have_places |= member->item->job.has_places;
        fenced[count] = member;
        attempts[count] = item_attempt(member->item);
        results[count++] = member->run.result;
    }
    if (count > 0)
        rc = jobs_succeed_many(batch->db, attempts, results, count, have_places, ours, e);
    for (size_t i = 0; !rc && i < count; i++) {
        fenced[i]->is_lost = !ours[i];
        *ret_all_ours = *ret_all_ours && ours[i];
    }
    return rc;
}

static void note_many(struct process *process, const struct task_batch *batch)
{
    int64_t runtime_us = clock_mono_us() - batch->began_us;

    for (size_t i = 0; i < batch->count; i++) {
        struct task_member *member = batch->members[i];
        struct trace trace;

        if (task_is_marked(member))
            continue;
        *member->acknowledge = true;
        settle_count(process, member->item, METER_SUCCEEDED, member->run.ran_us);
        task_push_follow_ups(&member->run);
        if (!item_is_fast(member->item))
            log_info("job_done", L_STR("job_id", member->run.id.text),
                     L_STR("task", member->item->job.task), L_STR("queue", member->item->job.queue),
                     L_INT("attempt", member->run.attempt),
                     L_STR("trace_id", item_trace_id(member->item, &trace)),
                     L_JSON("headers", member->item->headers_line), L_INT("runtime_us", runtime_us),
                     L_INT("batch", batch->count));
    }
}

enum many_end settle_many(struct process *process, struct task_batch *batch, struct err *e)
{
    bool all_ours = true;
    bool sent = false;
    enum err_code rc = task_batch_begin(batch, e);

    if (!rc)
        rc = fence_many(batch, &all_ours, e);
    if (!rc && all_ours) {
        CRASH_POINT("many.fenced");
        sent = true;
        rc = db_commit(&batch->tx, e);
    }
    db_rollback(&batch->tx);
    if (rc)
        return sent && !db_is_connected(batch->db) ? MANY_UNKNOWN : MANY_FAILED;
    if (!all_ours)
        return MANY_LOST;
    CRASH_POINT("many.committed");
    note_many(process, batch);
    return MANY_DONE;
}
