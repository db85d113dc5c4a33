/* SPDX-License-Identifier: MIT
 *
 * The file to copy for a task of your own; worker/README.md, "Writing a task", tells the rest.
 *
 * accounts.tasks.end_sessions(user id): ends all sessions of a user, as after a stolen password.
 * Who is logged in stays so until the access token runs out, 15 minutes at most, and cannot renew
 * it.
 */
#include <inttypes.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/sessions.h" /* SQL stands in the stores of common/, never here */
#include "worker/task.h"

static enum task_outcome run_end_sessions(struct task_run *run, struct err *e)
{
    int64_t user_id;
    int64_t ended;
    struct buf result;

    /* 1. The arguments. What is wrong now is wrong next time, too: no retry. */
    if (!task_arg_int(run, 0, 1, INT64_MAX, &user_id)) {
        (void)err_set(e, ERR_INVALID, "end_sessions takes the id of a user");
        return TASK_FAIL;
    }

    /* 2. What is outside of our database would stand here, before the transaction, with a key that
     * was stored before: the job may run more than once. Here is nothing. */

    /* 3. The effect. What is written from here on takes effect exactly when the job is done. */
    if (task_begin(run, e) || sessions_end_all(run->db, user_id, &ended, e))
        return task_outcome_of(e); /* a server away: TASK_RETRY; no such user: TASK_FAIL */

    /* 4. What people should see: a line while it runs, a result afterwards. No secrets. */
    task_log(run, JOB_LOG_INFO, "%" PRId64 " sessions ended", ended);
    buf_init(&result, 64);
    buf_addf(&result, "{\"ended\": %" PRId64 "}", ended);
    run->result = result.data;
    return TASK_DONE;
}

/* One line in tasks.c makes it known: X(end_sessions). */
const struct task task_end_sessions = {
    .name = "accounts.tasks.end_sessions",
    .queue = "default",
    .max_attempts = 10,
    .soft_limit_s = 10, /* run->deadline_us: calls to other servers end before it */
    .hard_limit_s = 20, /* past it the process is ended, and the attempt counts */
    .retry = {.curve = BACKOFF_LINEAR, .base_us = 5 * US_PER_S, .max_us = 60 * US_PER_S},
    .run = run_end_sessions};
