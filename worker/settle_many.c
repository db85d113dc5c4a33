/* SPDX-License-Identifier: MIT
 *
 * The success of a batch in the transaction of its effects; see settle.h.
 */
#include "common/crashpoint.h"
#include "common/jobs_succeed.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/settle.h"

/* The members that are done, each behind the fence of its attempt. Fast ones have no row. */
struct fences {
    struct task_member *members[TASK_BATCH_MAX];
    struct attempt attempts[TASK_BATCH_MAX];
    const char *results[TASK_BATCH_MAX];
    size_t count;
    bool have_places;
};

static void gather(const struct task_batch *batch, struct fences *f)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct task_member *member = batch->members[i];

        if (task_is_marked(member) || item_is_fast(member->item))
            continue;
        f->have_places |= member->item->job.has_places;
        f->members[f->count] = member;
        f->attempts[f->count] = item_attempt(member->item);
        f->results[f->count++] = member->run.result;
    }
}

/* Of a transaction that ended in a conflict: whether it did because of members that are not ours
 * any more. A unique index of the task's own tables ends it so, too. */
static bool find_lost(struct db *db, const struct fences *f)
{
    struct err ignored = {0};
    bool ours[TASK_BATCH_MAX];
    bool is_any = false;

    if (jobs_find_ours(db, f->attempts, f->count, ours, &ignored))
        return false;
    for (size_t i = 0; i < f->count; i++) {
        f->members[i]->is_lost = !ours[i];
        is_any |= !ours[i];
    }
    return is_any;
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
    AUTO(mem_free) struct fences *fences = mem_array(1, sizeof *fences);
    bool sent = false;
    enum err_code rc = task_batch_begin(batch, e);

    gather(batch, fences);
    if (!rc && fences->count > 0)
        rc = jobs_succeed_many_later(batch->db, fences->attempts, fences->results, fences->count,
                                     fences->have_places, e);
    if (!rc) {
        CRASH_POINT("many.fenced");
        sent = true;
        rc = db_commit(&batch->tx, e);
    }
    db_rollback(&batch->tx);
    if (rc == ERR_CONFLICT && find_lost(batch->db, fences))
        return MANY_LOST;
    if (rc && fences->count == 1 && fences->results[0] && settle_is_result_refused(batch->db)) {
        const struct err refused = *e;

        *e = (struct err){0};
        settle_say_refused(e, refused.detail);
        return MANY_REFUSED;
    }
    if (rc)
        return sent && !db_is_connected(batch->db) ? MANY_UNKNOWN : MANY_FAILED;
    CRASH_POINT("many.committed");
    note_many(process, batch);
    return MANY_DONE;
}
