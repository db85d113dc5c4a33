/* SPDX-License-Identifier: MIT
 *
 * The table of jobs: putting them in and looking one up. What workers do to them stands in
 * jobs_claim.h and jobs_run.h, what time does in jobs_heal.h, what people look at in jobs_view.h.
 *
 * Enqueueing a durable job is two steps. First jobs_insert() in the transaction of the data that
 * the job belongs to; then, after the commit, queue_push() its id. If the second never happens
 * (crash, no Redis) the scheduler does it: an inserted job is never lost.
 */
#ifndef COMMON_JOBS_H
#define COMMON_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/job.h"

struct job_new {
    struct uuid id; /* empty text: one is made */
    const char *task;
    const char *queue;             /* NULL: as the task declares, else JOB_DEFAULT_QUEUE */
    enum job_priority priority;    /* zero is high: set it */
    const char *args;              /* JSON array; NULL: [] */
    const char *kwargs;            /* JSON object; NULL: {} */
    int max_attempts;              /* 0: as the task declares, else JOB_DEFAULT_ATTEMPTS */
    int64_t scheduled_us;          /* wall time before which it does not run; 0: now */
    int64_t expires_us;            /* wall time after which no attempt begins; 0: none */
    const char *headers;           /* JSON object of texts, see job_options.h; NULL: none */
    const char *traceparent;       /* W3C Trace Context; NULL: none */
    int64_t retention_s;           /* kept for this long when finished; 0: as the task declares */
    const char *limit_key;         /* what limits of keys count it by; NULL: nothing */
    const char *unique_key;        /* at most one unfinished job has it; NULL: none */
    int64_t unique_ttl_s;          /* how long the job may hold the key; 0: until it is finished */
    enum job_conflict on_conflict; /* with `unique_key`: when another job holds it */
};

/* What became of a job that was to be inserted. */
enum job_outcome {
    JOB_ADDED,
    JOB_KEPT,     /* another holds its unique key: that one's id; nothing was inserted */
    JOB_REPLACED, /* the same, and that one, which waits, now says what the new one said */
};

/* Where a job that is ready has to be pushed. */
struct job_ready {
    struct uuid id;
    char queue[JOB_NAME_MAX + 1];
    enum job_priority priority;
    bool is_ready; /* false: scheduled for later, or kept as it was: nothing to push */
    enum job_outcome outcome;
};

/* Inserts in the caller's transaction (or alone). ERR_INVALID for a bad name, JSON or option,
 * ERR_CONFLICT when the id exists, or the unique key is held and `on_conflict` refuses that. */
enum err_code jobs_insert(struct db *db, const struct job_new *new_job, struct job_ready *ret_ready,
                          struct err *e) MUST_CHECK;

enum {
    JOBS_INSERT_MAX = 10000,              /* jobs in one statement */
    JOBS_INSERT_BYTES = 16 * 1024 * 1024, /* of args, and of kwargs, in one statement */
};

/* The same, sent with what comes next in the transaction (db_exec_later()), whose failure is that
 * of the insert: for a job that nothing is wrong with. One that leaves its queue to its task, or
 * has a unique key, is inserted at once. */
enum err_code jobs_insert_later(struct db *db, const struct job_new *new_job,
                                struct job_ready *ret_ready, struct err *e) MUST_CHECK;

/* Whether jobs_insert() would accept these names, JSON and options: ERR_INVALID when not. No I/O.
 */
enum err_code jobs_check(const struct job_new *new_job, struct err *e) MUST_CHECK;

/* Inserts up to JOBS_INSERT_MAX jobs in one statement, all or none, by the rules of jobs_insert();
 * `ret_ready` has `count` elements in the order of the jobs. ERR_INVALID also when they are more,
 * or larger, than one statement takes. */
enum err_code jobs_insert_many(struct db *db, const struct job_new *jobs, size_t count,
                               struct job_ready *ret_ready, struct err *e) MUST_CHECK;

/* The queue of a task that is declared fast, JOB_NAME_MAX + 1 bytes. ERR_INVALID when it is not, or
 * when no worker has told of it yet. */
enum err_code jobs_find_fast_task(struct db *db, const char *task, char *ret_queue,
                                  struct err *e) MUST_CHECK;

struct task_declared {
    const char *name;
    const char *queue;
    int max_attempts;
    bool fast;
    int64_t retention_s; /* 0: as the settings say */
    const char *secrets; /* array of names, as db_array_add() makes it; NULL: none */
};

/* Whether a worker that knows the task was started within that time. */
enum err_code jobs_task_is_declared(struct db *db, const char *task, int64_t since_s,
                                    bool *ret_declared, struct err *e) MUST_CHECK;

/* Declares what the workers can run (upsert into `tasks`). */
enum err_code jobs_declare_task(struct db *db, const struct task_declared *task,
                                struct err *e) MUST_CHECK;

#endif
