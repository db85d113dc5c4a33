/* SPDX-License-Identifier: MIT
 *
 * A batch of jobs in one transaction; see run_many.h. What becomes of each is settled by settle.c;
 * this file decides which of them stand together in the next call of the task:
 *  - all that wait, at first;
 *  - without those that were settled by themselves, when the transaction had to be given up because
 *    of them (marked after it began, or another's by now);
 *  - when one of them went wrong and nobody knows which, one half, then the other.
 * So a member that cannot be written costs its batch some calls, and nothing else.
 */
#include "worker/run_many.h"

#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/deadlines.h"
#include "worker/interrupt.h"
#include "worker/settle.h"

struct many {
    const struct slot *slot;
    const struct task *task;
    struct task_member *members[TASK_BATCH_MAX]; /* a call gets a range of them */
};

/* ---- one member ---- */

/* Writes an end that is no success. */
static void settle_alone(const struct many *many, struct task_member *member,
                         enum task_outcome outcome, const struct err *why)
{
    const struct settling s = {.process = many->slot->process,
                               .db = many->slot->db,
                               .task = many->task,
                               .item = member->item};
    struct err e = *why;

    slot_set_log_context(many->slot, member->item, &member->run);
    *member->acknowledge = settle(&s, &member->run, outcome, &e);
    member->is_settled = true;
    slot_clear_log_context();
}

static void settle_marked(const struct many *many, const struct task_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct task_member *member = batch->members[i];

        if (task_is_marked(member))
            settle_alone(many, member, member->outcome, member->error);
    }
}

/* All of the batch, the marked ones by their marks, the others alike. */
static void settle_all(const struct many *many, const struct task_batch *batch,
                       enum task_outcome outcome, const struct err *why)
{
    settle_marked(many, batch);
    for (size_t i = 0; i < batch->count; i++) {
        struct task_member *member = batch->members[i];

        if (task_is_marked(member))
            continue;
        member->run.retry_after_us = batch->retry_after_us;
        settle_alone(many, member, outcome, why);
    }
}

/* Whatever a former call has left. */
static void reset(struct task_member *member)
{
    mem_free(TAKE(member->run.result));
    member->run.follow_up_count = 0;
    member->run.retry_after_us = 0;
    member->outcome = TASK_DONE;
    mem_free(TAKE(member->error));
    member->is_lost = false;
}

/* ---- one call ---- */

enum next {
    NEXT_REST, /* the same range, without those that are settled */
    NEXT_HALVES,
};

static size_t count_unmarked(const struct task_batch *batch, bool *ret_has_effect_of_marked)
{
    size_t count = 0;

    *ret_has_effect_of_marked = false;
    for (size_t i = 0; i < batch->count; i++) {
        if (!task_is_marked(batch->members[i]))
            count++;
        else if (!batch->members[i]->had_no_effect)
            *ret_has_effect_of_marked = true;
    }
    return count;
}

static void note_committed(const struct task_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        batch->members[i]->is_settled = true;
}

static void note_lost(const struct task_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct task_member *member = batch->members[i];
        struct trace trace;

        if (!member->is_lost)
            continue;
        log_warn("job_not_ours", L_STR("job_id", member->run.id.text),
                 L_STR("trace_id", item_trace_id(member->item, &trace)),
                 L_JSON("headers", member->item->headers_line));
        member->is_settled = true; /* not acknowledged */
    }
}

static void mark_large_results(const struct task_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct err e = {0};

        if (task_check_result(&batch->members[i]->run, &e))
            task_mark(batch->members[i], TASK_FAIL, e.code, "%s", e.text);
    }
}

static enum next settle_done(const struct many *many, struct task_batch *batch)
{
    bool has_effect_of_marked;
    size_t unmarked = count_unmarked(batch, &has_effect_of_marked);
    struct err e = {0};

    if (has_effect_of_marked || unmarked == 0) {
        db_rollback(&batch->tx);
        settle_marked(many, batch);
        return NEXT_REST;
    }
    switch (settle_many(many->slot->process, batch, &e)) {
    case MANY_DONE:
        settle_marked(many, batch);
        note_committed(batch);
        return NEXT_REST;
    case MANY_LOST:
        note_lost(batch);
        return NEXT_REST;
    case MANY_FAILED:
        if (unmarked > 1)
            return NEXT_HALVES;
        break;
    case MANY_REFUSED:
        if (unmarked > 1)
            return NEXT_HALVES;
        settle_all(many, batch, TASK_FAIL, &e);
        return NEXT_REST;
    case MANY_UNKNOWN:
        break; /* behind the fence of what was committed, a failure changes nothing */
    }
    settle_all(many, batch, TASK_RETRY, &e);
    return NEXT_REST;
}

/* They run together, so the shortest soft limit of one of them is that of all. */
static void set_limits(const struct many *many, struct task_batch *batch)
{
    int64_t now_us = clock_mono_us();

    batch->began_us = now_us;
    batch->deadline_us = INT64_MAX;
    for (size_t i = 0; i < batch->count; i++) {
        struct task_run *run = &batch->members[i]->run;
        struct deadline limit =
            deadlines_of(many->slot->process->deadlines, many->task, run->headers);

        run->batch = batch;
        item_set_limit(batch->members[i]->item, now_us + limit.hard_us);
        if (now_us + limit.soft_us < batch->deadline_us)
            batch->deadline_us = now_us + limit.soft_us;
    }
    for (size_t i = 0; i < batch->count; i++)
        batch->members[i]->run.deadline_us = batch->deadline_us;
}

static void lift_limits(const struct task_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        item_set_limit(batch->members[i]->item, 0);
}

/* What each of them took: its share of the call. */
static void note_runtimes(const struct task_batch *batch)
{
    int64_t share_us = (clock_mono_us() - batch->began_us) / (int64_t)batch->count;

    for (size_t i = 0; i < batch->count; i++)
        batch->members[i]->run.ran_us = share_us;
}

static enum next call(const struct many *many, size_t from, size_t to)
{
    struct task_batch batch = {.members = &many->members[from],
                               .count = to - from,
                               .conf = many->slot->process->conf,
                               .db = many->slot->db,
                               .gateway = many->slot->gateway,
                               .mailer = many->slot->mailer};
    struct err e = {0};
    enum task_outcome outcome;
    bool begun;

    for (size_t i = from; i < to; i++)
        reset(many->members[i]);
    set_limits(many, &batch);
    CRASH_POINT("many.before");
    outcome = many->task->run_many(&batch, &e);
    outcome = slot_check_end(many->slot->db, &batch.tx, outcome, &e);
    CRASH_POINT("many.after");
    lift_limits(&batch);
    for (size_t i = from; i < to; i++)
        slot_flush_journal(&many->members[i]->run);
    note_runtimes(&batch);
    if (outcome == TASK_DONE) {
        mark_large_results(&batch);
        return settle_done(many, &batch);
    }
    begun = batch.tx.db != NULL;
    db_rollback(&batch.tx);
    if (batch.count > 1 && ((begun && outcome == TASK_RETRY) || outcome == TASK_FAIL))
        return NEXT_HALVES;
    settle_all(many, &batch, outcome, &e);
    return NEXT_REST;
}

/* ---- all of them ---- */

/* Moves the members that have no end yet to the front of the range; where they end. */
static size_t keep_open(struct many *many, size_t from, size_t to)
{
    size_t end = from;

    for (size_t i = from; i < to; i++) {
        struct task_member *member = many->members[i];

        if (atomic_load(&member->item->revoked)) {
            *member->acknowledge = true; /* cancelled: nothing of it can be written any more */
            continue;
        }
        if (member->is_settled || member->item->lost) /* lost: another may be running it */
            continue;
        many->members[i] = many->members[end];
        many->members[end++] = member;
    }
    return end;
}

static void run_range(struct many *many, size_t from, size_t to)
{
    while ((to = keep_open(many, from, to)) > from) {
        if (call(many, from, to) == NEXT_HALVES) {
            size_t middle = from + (to - from) / 2;

            CRASH_POINT("many.halved");
            run_range(many, from, middle);
            from = middle;
        }
    }
}

static void open_member(const struct many *many, struct task_member *member, struct item *item,
                        bool *acknowledge)
{
    struct err e = {0};

    *member = (struct task_member){
        .run = slot_begin_run(many->slot, item), .item = item, .acknowledge = acknowledge};
    *acknowledge = false;
    if (slot_decode(item, &member->args, &member->kwargs, &e)) {
        slot_lift_limit(item);
        settle_alone(many, member, TASK_FAIL, &e);
    }
    member->run.args = member->args;
    member->run.kwargs = member->kwargs;
}

static void close_member(struct task_member *member)
{
    json_decref(member->args);
    json_decref(member->kwargs);
    mem_free(member->error);
    slot_end_run(&member->run);
}

void run_many(const struct slot *slot, struct item *const *items, size_t count)
{
    struct task_member *members = mem_array(count, sizeof *members);
    struct many many = {.slot = slot, .task = items[0]->task};
    int64_t began_us = clock_mono_us();
    bool acknowledge[TASK_BATCH_MAX];

    for (size_t i = 0; i < count; i++) {
        many.members[i] = &members[i];
        open_member(&many, &members[i], items[i], &acknowledge[i]);
    }
    run_range(&many, 0, count);
    for (size_t i = 0; i < count; i++)
        close_member(&members[i]);
    slot_leave_changed_session(slot->db);
    mem_free(members);
    /* A full call takes hardly longer than this one: what a job takes is counted as if it had been
     * one, or a slow task would never be given a full batch. */
    pool_note_runtime(slot->process->pool, many.task, clock_mono_us() - began_us,
                      many.task->batch_max);
    interrupts_give_places(slot->db, items, acknowledge, count);
    pool_finish(slot->process->pool, items, acknowledge, count);
}
