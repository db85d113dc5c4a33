/* SPDX-License-Identifier: MIT
 *
 * Tasks for trying and measuring jobs with an effect: [counter] or [counter, amount] adds to a row
 * of trial_counters and writes one of trial_entries. till.tasks.tally does it in a transaction a
 * job, till.tasks.tally_many for many jobs at once.
 */
#include <inttypes.h>

#include "common/trial.h"
#include "worker/task.h"

static bool read_tally(const struct task_run *run, struct trial_tally *ret_tally)
{
    *ret_tally = (struct trial_tally){.job = run->id, .amount = 1};
    return task_arg_int(run, 0, 0, INT32_MAX, &ret_tally->counter) &&
           (json_array_size(run->args) == 1 ||
            (json_array_size(run->args) == 2 &&
             task_arg_int(run, 1, INT32_MIN, INT32_MAX, &ret_tally->amount)));
}

static const char usage[] = "tally takes the number of a counter and, if wanted, an amount";

static enum task_outcome run_tally(struct task_run *run, struct err *e)
{
    struct trial_tally tally;

    if (!read_tally(run, &tally)) {
        (void)err_set(e, ERR_INVALID, "%s", usage);
        return TASK_FAIL;
    }
    if (task_begin(run, e) || trial_add(run->db, &tally, e))
        return task_outcome_of(e);
    return TASK_DONE;
}

const struct task task_tally = {.name = "till.tasks.tally",
                                .queue = "default",
                                .max_attempts = 10,
                                .soft_limit_s = 10,
                                .hard_limit_s = 20,
                                .run = run_tally};

static enum task_outcome run_tally_many(struct task_batch *batch, struct err *e)
{
    struct trial_tally tallies[TASK_BATCH_MAX];
    struct task_member *members[TASK_BATCH_MAX];
    bool missing[TASK_BATCH_MAX];
    size_t count = 0;

    for (size_t i = 0; i < batch->count; i++) {
        members[count] = batch->members[i];
        if (read_tally(&members[count]->run, &tallies[count]))
            count++;
        else
            task_mark(members[count], TASK_FAIL, ERR_INVALID, "%s", usage);
    }
    if (count == 0)
        return TASK_DONE;
    if (task_batch_begin(batch, e) || trial_add_many(batch->db, tallies, count, missing, e))
        return task_outcome_of(e);
    for (size_t i = 0; i < count; i++)
        if (missing[i])
            task_mark(members[i], TASK_FAIL, ERR_NOT_FOUND, "there is no counter %" PRId64,
                      tallies[i].counter);
    return TASK_DONE;
}

const struct task task_tally_many = {.name = "till.tasks.tally_many",
                                     .queue = "default",
                                     .max_attempts = 10,
                                     .soft_limit_s = 10,
                                     .hard_limit_s = 20,
                                     .run_many = run_tally_many,
                                     .batch_max = 64};
