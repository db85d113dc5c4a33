/* SPDX-License-Identifier: MIT
 *
 * Jobs of many parts: task_checkpoint() and task_last_checkpoint(); see task.h. A part and where
 * the next one begins are one transaction behind the fence of the attempt, so a part takes effect
 * once.
 */
#include <string.h>

#include "common/crashpoint.h"
#include "common/job_checkpoints.h"
#include "common/json.h"
#include "common/mem.h"
#include "worker/pool.h"
#include "worker/task.h"

static enum err_code check(const struct task_run *run, const char *text, struct err *e)
{
    if (run->batch)
        return err_set(e, ERR_INVALID, "a member of a batch (run_many) has no checkpoints");
    if (!text || strlen(text) > JOB_CHECKPOINT_MAX)
        return err_set(e, ERR_INVALID,
                       "a checkpoint is JSON of at most %d bytes: store more elsewhere, keep where",
                       JOB_CHECKPOINT_MAX);
    /* What fails for a while is tried again, and is a row then. */
    if (run->item && item_is_fast(run->item))
        return err_set(e, ERR_UNAVAILABLE,
                       "a fast job has no row to keep a checkpoint in; it becomes one");
    return ERR_OK;
}

enum err_code task_checkpoint(struct task_run *run, const json_t *data, struct err *e)
{
    AUTO(mem_free) char *text = data ? json_dumps(data, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    const struct attempt attempt = {.id = run->id, .number = run->attempt};
    enum err_code rc = check(run, text, e);

    if (!rc)
        rc = task_begin(run, e);
    if (!rc)
        rc = job_checkpoints_write_later(run->db, &attempt, text, e);
    if (rc)
        return rc;
    CRASH_POINT("checkpoint.before_commit");
    rc = db_commit(&run->tx, e);
    CRASH_POINT("checkpoint.committed");
    if (rc)
        run->follow_up_count = 0; /* they are not there, or the scheduler finds them */
    task_push_follow_ups(run);
    return rc;
}

enum err_code task_last_checkpoint(struct task_run *run, json_t **ret_data, struct err *e)
{
    AUTO(mem_free) char *text = NULL;
    enum err_code rc = job_checkpoints_read(run->db, &run->id, &text, e);

    if (rc)
        return rc;
    if (text)
        return json_read(text, strlen(text), SIZE_MAX, ret_data, e);
    *ret_data = json_null();
    return ERR_OK;
}
