/* SPDX-License-Identifier: MIT
 *
 * The one header for the author of a task. A task is one file with one `const struct task`, listed
 * in tasks.c. Its run() decides; it never acknowledges, never sleeps, never opens a connection.
 *
 *   static enum task_outcome run(struct task_run *run, struct err *e)
 *   {
 *       const char *order = task_arg_text(run, 0);
 *       ... what is outside our database first, with a key that was stored before ...
 *       if (task_begin(run, e) || orders_mark(run->db, order, e))
 *           return task_outcome_of(e);
 *       return TASK_DONE;             the open transaction is committed with the job's own end
 *   }
 *
 * A job may run more than once (its worker died, its lease ran out), so everything outside the
 * transaction has to be idempotent. What stands inside takes effect exactly once.
 */
#ifndef WORKER_TASK_H
#define WORKER_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "common/conf.h"
#include "common/db.h"
#include "common/err.h"
#include "common/jobs.h"

struct gateway;
struct mailer;

enum task_outcome {
    TASK_DONE,
    TASK_RETRY, /* `e` says why; tried again after the backoff, or after run->retry_after_us */
    TASK_FAIL,  /* `e` says why; not worth another attempt */
};

enum { TASK_FOLLOW_UPS_MAX = 8 };

/* What a run() works with. All of it is borrowed and belongs to the slot's thread. */
struct task_run {
    struct uuid id;
    int attempt; /* 1 is the first */
    int max_attempts;
    const json_t *args;   /* array */
    const json_t *kwargs; /* object */
    int64_t deadline_us;  /* monotonic: the soft limit; give up with TASK_RETRY before it */
    const struct conf *conf;
    struct db *db;
    struct gateway *gateway;
    struct mailer *mailer;

    /* Set by the task: */
    int64_t retry_after_us; /* with TASK_RETRY: not before, instead of the backoff; 0: backoff */
    char *result;           /* JSON of mem_alloc(); kept in the job's row; freed by the caller */

    /* Private to task.c and settle.c: */
    struct db_tx tx;
    struct job_ready follow_ups[TASK_FOLLOW_UPS_MAX];
    int follow_up_count;
};

struct task {
    const char *name;
    const char *queue;
    bool fast; /* for work at a rate no database should see: a stream entry alone */
    int max_attempts;
    int soft_limit_s; /* run->deadline_us */
    int hard_limit_s; /* past it the process is killed and the attempt counts */
    int retry_max_s;  /* longest backoff; 0: TILL_RETRY_MAX_SECONDS */
    enum task_outcome (*run)(struct task_run *run, struct err *e);
};

/* The argument at `index`, or kwargs' member `name`; NULL or false when it is not of that type. */
const char *task_arg_text(const struct task_run *run, size_t index);
bool task_arg_int(const struct task_run *run, size_t index, int64_t min, int64_t max,
                  int64_t *ret_value);

/* Opens the transaction that the job's success commits. */
enum err_code task_begin(struct task_run *run, struct err *e) MUST_CHECK;

/* Adds a job in that transaction; it is pushed into its stream after the commit. */
enum err_code task_enqueue(struct task_run *run, const struct job_new *job,
                           struct err *e) MUST_CHECK;

int64_t task_time_left_us(const struct task_run *run);

/* TASK_RETRY for what may pass (a server away, a time-out), TASK_FAIL for the rest. */
enum task_outcome task_outcome_of(const struct err *e);

#endif
