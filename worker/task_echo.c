/* SPDX-License-Identifier: MIT
 *
 * For trying flows. The result of till.tasks.echo is {"args": its args, "input": what the jobs
 * before it gave}. till.tasks.flow takes [flow, how it ends] and adds the flow in the transaction
 * of its own end, which is a success unless the second argument is "fail" or "retry". A text in
 * place of the flow is the name of a task, of which it adds one job that is in no flow.
 */
#include <string.h>

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
                               .secrets = {"hidden"}, /* for trying that, too */
                               .soft_limit_s = 10,
                               .hard_limit_s = 20,
                               .run = run_echo};

static char *flow_result(const struct uuid *flow)
{
    AUTO(json_decref) json_t *result = json_pack("{s:s}", "flow", flow->text);

    return result ? json_write(result) : NULL;
}

/* The id stays empty for a job that is in no flow. */
static enum err_code add(struct task_run *run, struct uuid *ret_flow, struct err *e)
{
    const char *task = task_arg_text(run, 0);

    if (!task)
        return task_enqueue_flow(run, json_array_get(run->args, 0), ret_flow, e);
    return task_enqueue(run, &(struct job_new){.task = task, .priority = JOB_PRIORITY_NORMAL}, e);
}

static enum task_outcome run_flow(struct task_run *run, struct err *e)
{
    const char *end = task_arg_text(run, 1);
    struct uuid flow = {0};

    if (add(run, &flow, e))
        return task_outcome_of(e);
    if (end) {
        (void)err_set(e, ERR_INVALID, "failed as it was told to");
        return strcmp(end, "retry") == 0 ? TASK_RETRY : TASK_FAIL;
    }
    if (*flow.text)
        run->result = flow_result(&flow);
    return TASK_DONE;
}

const struct task task_flow = {.name = "till.tasks.flow",
                               .queue = "default",
                               .max_attempts = 3,
                               .soft_limit_s = 10,
                               .hard_limit_s = 20,
                               .run = run_flow};
