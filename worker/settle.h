/* SPDX-License-Identifier: MIT
 *
 * The one place that decides what becomes of a job after its run: commit first, acknowledge second.
 */
#ifndef WORKER_SETTLE_H
#define WORKER_SETTLE_H

#include <stdbool.h>

#include "common/db.h"
#include "common/err.h"
#include "worker/meter.h"
#include "worker/process.h"
#include "worker/task.h"

/* What a slot settles with. Borrowed. */
struct settling {
    struct process *process;
    struct db *db;
    const struct task *task; /* NULL: no such task in this build */
    struct item *item;
};

/* Settles a job that ran (or could not). Gives whether its entry is to be acknowledged: false
 * leaves it to whoever has taken it over, or to the next worker. */
bool settle(const struct settling *settling, struct task_run *run, enum task_outcome outcome,
            struct err *e);

/* A durable job that is done without a transaction of its own. */
struct success {
    struct item *item;
    char *result; /* JSON, owned; or NULL */
    int64_t runtime_us;
    bool *ok; /* gets whether its entry is to be acknowledged */
};

struct batch {
    struct success *successes; /* borrowed; room for all that the slot took */
    size_t count;
};

/* Writes and logs the successes, in one statement, each behind its own fence; empties the batch. */
void settle_successes(struct process *process, struct db *db, struct batch *batch);

/* What people are shown of an end: an event, and the figures of its task. */
void settle_count(struct process *process, const struct item *item, enum meter_end end,
                  int64_t ran_us);

/* Whether what failed last is the end of a job, for a result that PostgreSQL cannot keep; and how
 * that is told. It would be refused again. */
bool settle_is_result_refused(const struct db *db);
void settle_say_refused(struct err *e, const char *detail);

enum many_end {
    MANY_DONE,    /* committed; the members that are not marked are done */
    MANY_LOST,    /* rolled back: some are not ours any more, member->is_lost */
    MANY_FAILED,  /* rolled back: `e` says why */
    MANY_REFUSED, /* the same, for the result of the one member, which would be refused again */
    MANY_UNKNOWN, /* no answer to the commit */
};

/* Settles what run_many() has done, in its transaction: the success of all members that are not
 * marked, each behind its own fence. */
enum many_end settle_many(struct process *process, struct task_batch *batch, struct err *e);

/* An entry that is no job. The same meaning of the result. */
bool settle_undecodable(const struct settling *settling);

#endif
