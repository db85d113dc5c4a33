/* SPDX-License-Identifier: MIT
 *
 * A slot: the thread that runs jobs, one at a time (or a batch of a task that takes many), with
 * connections of its own.
 */
#ifndef WORKER_SLOT_H
#define WORKER_SLOT_H

#include <jansson.h>

#include "common/db.h"
#include "common/err.h"
#include "common/redis.h"
#include "worker/process.h"
#include "worker/task.h"

/* Where a slot sits: an index that no other has while it lives. */
struct slot_place {
    struct process *process;
    int index;
};

/* Runs jobs until the pool sends it home. */
void slot_main(const struct slot_place *place);

/* What a slot runs jobs with; its own. */
struct slot {
    struct process *process;
    int index;
    struct db *db;
    struct redis *redis;
    struct gateway *gateway;
    struct mailer *mailer;
};

/* What a job runs with, but its arguments. Its hard time limit begins to count. */
struct task_run slot_begin_run(const struct slot *slot, struct item *item);
/* As task_end_judge(); and what the task has left of a transaction of its own is ended. */
enum task_outcome slot_check_end(struct db *db, const struct db_tx *tx, enum task_outcome outcome,
                                 struct err *e);
/* Leaves a session in which a task has changed something (SET, a temporary table), so that the next
 * job meets none of it; not while its transaction is open. */
void slot_leave_changed_session(struct db *db);
/* Frees what belongs to the run; its transaction is over. */
void slot_end_run(struct task_run *run);
/* The limit is the task's. Settling has none: it waits for PostgreSQL, and so may a batch. */
void slot_lift_limit(struct item *item);

/* Reads args and kwargs of a job; both are owned by the caller, also after an error. */
enum err_code slot_decode(const struct item *item, json_t **ret_args, json_t **ret_kwargs,
                          struct err *e) MUST_CHECK;

/* Waits, for a moment at most, until what the job has said is written. */
void slot_flush_journal(const struct task_run *run);

/* Log lines of this thread carry the job from here on. */
void slot_set_log_context(const struct slot *slot, const struct item *item,
                          const struct task_run *run);
void slot_clear_log_context(void);

#endif
