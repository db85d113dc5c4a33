/* SPDX-License-Identifier: MIT
 *
 * Tasks for trying and measuring jobs with an effect: [counter] or [counter, amount] adds to a row
 * of trial_counters and writes one of trial_entries. till.tasks.tally does it in a transaction a
 * job, till.tasks.tally_many for many jobs at once, till.tasks.tally_steps many times a job, each
 * with a checkpoint.
 */
#include <inttypes.h>

#include "common/clock.h"
#include "common/json.h"
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
                                     .batch_max = 128};

/* [counter, steps, milliseconds between two]: as long as it may run at a time, again and again. */
static enum task_outcome run_tally_steps(struct task_run *run, struct err *e)
{
    AUTO(json_decref) json_t *last = NULL;
    struct trial_tally tally = {.job = run->id, .amount = 1};
    int64_t steps = 0;
    int64_t pause_ms = 0;

    if (!task_arg_int(run, 0, 0, INT32_MAX, &tally.counter) ||
        !task_arg_int(run, 1, 0, INT32_MAX, &steps) ||
        (json_array_size(run->args) > 2 && !task_arg_int(run, 2, 0, 60 * 1000, &pause_ms))) {
        (void)err_set(e, ERR_INVALID, "tally_steps takes a counter, steps and milliseconds");
        return TASK_FAIL;
    }
    if (task_last_checkpoint(run, &last, e))
        return task_outcome_of(e);
    for (int64_t done = json_integer_value(last); done < steps; done++) {
        AUTO(json_decref) json_t *next = json_integer(done + 1);

        if (task_begin(run, e) || trial_add(run->db, &tally, e) || task_checkpoint(run, next, e))
            return task_outcome_of(e);
        task_progress(run, done + 1, steps, "stepping");
        if (pause_ms > 0)
            (void)task_sleep_until(run, clock_mono_us() + pause_ms * US_PER_MS);
        if (task_time_left_us(run) <= 0) {
            run->retry_after_us = 1;
            return TASK_SNOOZE;
        }
    }
    return TASK_DONE;
}

const struct task task_tally_steps = {.name = "till.tasks.tally_steps",
                                      .queue = "default",
                                      .max_attempts = 10,
                                      .soft_limit_s = 10,
                                      .hard_limit_s = 20,
                                      .run = run_tally_steps};
