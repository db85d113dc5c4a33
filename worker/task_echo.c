/* SPDX-License-Identifier: MIT
 *
 * For trying flows: the result of till.tasks.echo is {"args": its args, "input": what the jobs
 * before it gave}.
 */
#include "common/json.h"
#include "worker/task.h"

static enum task_outcome run_echo(struct task_run *run, struct err *e)
{
    AUTO(json_decref) json_t *input = NULL;
    AUTO(json_decref) json_t *result = NULL;

    if (task_input(run, &input, e))
        return task_outcome_of(e);
    result = json_pack("{s:O, s:O}", "args", run->args, "input", input);
    run->result = result ? json_write(result) : NULL;
    if (run->result)
        return TASK_DONE;
    (void)err_set(e, ERR_NOMEM, "out of memory");
    return TASK_RETRY;
}

const struct task task_echo = {.name = "till.tasks.echo",
                               .queue = "default",
                               .max_attempts = 10,
                               .soft_limit_s = 10,
                               .hard_limit_s = 20,
                               .run = run_echo};
