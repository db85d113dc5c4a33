/* SPDX-License-Identifier: MIT
 *
 * The one header for the author of a task. A task is one file with one `const struct task`, listed
 * in tasks.c. Its run() decides; it never acknowledges, never sleeps, never opens a connection,
 * never says BEGIN or COMMIT itself, and leaves the session as it was (SET LOCAL, no SET).
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
#include "common/job_logs.h"
#include "common/jobs.h"

struct breaker;
struct gateway;
struct interrupts;
struct item;
struct journal;
struct mailer;
struct redis;

enum task_outcome {
    TASK_DONE,
    TASK_RETRY,  /* `e` says why; tried again after the backoff, or after run->retry_after_us */
    TASK_FAIL,   /* `e` says why; not worth another attempt */
    TASK_SNOOZE, /* not now, and no error: run again after run->retry_after_us (0: a minute) as if
                    it had not run; its transaction is rolled back; `e` may say why */
};

enum { TASK_SNOOZE_S = 60, TASK_SNOOZE_MAX_S = 365 * 86400 };

enum { TASK_SECRETS_MAX = 8, TASK_FOLLOW_UPS_MAX = 8, TASK_RESULT_MAX = 64 * 1024 };

/* What a run() works with. All of it is borrowed and belongs to the slot's thread. */
struct task_run {
    struct uuid id;
    int attempt; /* 1 is the first; snoozes count */
    int max_attempts;
    const json_t *args;      /* array */
    const json_t *kwargs;    /* object */
    const char *traceparent; /* W3C Trace Context, or NULL; jobs that this one adds inherit it */
    json_t *headers;         /* object of texts, or NULL; see task_header() */
    json_t *headers_out;     /* those of them that go out with what it sends, or NULL */
    int64_t deadline_us;     /* monotonic: the soft limit; give up with TASK_RETRY before it */
    int snoozes;             /* how often it has put itself off */
    const struct conf *conf;
    struct db *db;
    struct gateway *gateway;
    struct mailer *mailer;
    struct breaker *gateway_breaker; /* for task_may_call(); NULL: always */
    struct breaker *mail_breaker;

    /* Set by the task: */
    int64_t retry_after_us; /* with TASK_RETRY: not before; the backoff may be longer. At most
                               TASK_SNOOZE_MAX_S */
    char *result;           /* JSON of mem_alloc(), at most TASK_RESULT_MAX bytes; kept in the job's
                               row; freed by the caller */

    /* Private to task.c and settle.c: */
    struct db_tx tx;
    struct redis *redis;          /* for the jobs that this one adds; NULL: nowhere to push them */
    struct job_ready *follow_ups; /* owned; NULL before the first */
    int follow_up_count;
    struct task_batch *batch; /* of a member of one */
    struct journal *journal;  /* NULL: nowhere to keep what it says */
    uint64_t journal_number;  /* of what it said last; 0: nothing */
    int log_lines;
    size_t log_bytes;
    bool log_is_cut;
    const struct item *item; /* NULL: no worker runs it */
    struct interrupts *interrupts;
    int64_t ran_us; /* how long the handler took */
};

/* One job of a batch. */
struct task_member {
    struct task_run run; /* as for run(); its transaction is the batch's */

    /* Private to task.c and run_many.c: */
    enum task_outcome outcome; /* task_mark() */
    struct err *error;         /* what it was marked with, owned; few are */
    bool had_no_effect;        /* it was marked before the transaction began */
    bool is_lost;              /* another has taken it over */
    bool is_settled;
    struct item *item;
    bool *acknowledge;
    json_t *args;
    json_t *kwargs;
};

enum { TASK_BATCH_MAX = 128 };

/* What a run_many() works with: between 1 and the task's batch_max jobs. */
struct task_batch {
    struct task_member *const *members;
    size_t count;
    int64_t deadline_us; /* monotonic: the soft limit of all of them together */
    const struct conf *conf;
    struct db *db;
    struct gateway *gateway;
    struct mailer *mailer;

    /* Set by the task: */
    int64_t retry_after_us; /* with TASK_RETRY or TASK_SNOOZE for the batch as a whole */

    /* Private to task.c, run_many.c and settle.c: */
    struct db_tx tx;
    int64_t began_us; /* monotonic */
};

struct task {
    const char *name;
    const char *queue;
    bool fast; /* for work at a rate no database should see: a stream entry alone */
    int max_attempts;
    int soft_limit_s;     /* run->deadline_us */
    int hard_limit_s;     /* past it the process is killed and the attempt counts */
    struct backoff retry; /* what is 0: TILL_RETRY_BASE_MS, TILL_RETRY_MAX_SECONDS */
    /* Names of args, kwargs and members of results that nobody may see: as names of members, at any
     * depth, or as places of args ("0" is the first); "result" is all of a result. Wherever jobs
     * are shown they are redacted, also where their values appear in errors and lines. */
    const char *secrets[TASK_SECRETS_MAX];
    int retention_s; /* how long finished jobs are kept; 0: TILL_RETENTION_SECONDS */
    /* One of the two: */
    enum task_outcome (*run)(struct task_run *run, struct err *e);
    enum task_outcome (*run_many)(struct task_batch *batch, struct err *e);
    int batch_max; /* jobs that run_many() gets at once, at most TASK_BATCH_MAX */
};

/* The argument at `index`, or kwargs' member `name`; NULL or false when it is not of that type. */
const char *task_arg_text(const struct task_run *run, size_t index);
bool task_arg_int(const struct task_run *run, size_t index, int64_t min, int64_t max,
                  int64_t *ret_value);

/* What the job's header of this name says; NULL without one. */
const char *task_header(const struct task_run *run, const char *name);

/* Opens the transaction that the job's success commits. */
enum err_code task_begin(struct task_run *run, struct err *e) MUST_CHECK;

/* Adds a job in that transaction, which it opens when it is not open yet; it is pushed into its
 * stream after the commit. Without a trace of its own it belongs to that of this job; it has the
 * headers that go out, too. */
enum err_code task_enqueue(struct task_run *run, const struct job_new *job,
                           struct err *e) MUST_CHECK;

/* The same for a job that is known to be in order: it is sent with what comes next, or with the
 * commit, one way to the database less. What is wrong with it fails that. */
enum err_code task_enqueue_at_end(struct task_run *run, const struct job_new *job,
                                  struct err *e) MUST_CHECK;

/* Adds a flow (common/flow_spec.h), likewise: its jobs have trace and headers of this one, too. */
enum err_code task_enqueue_flow(struct task_run *run, const json_t *flow, struct uuid *ret_id,
                                struct err *e) MUST_CHECK;

/* What the jobs before this one in its flow have given: the result of the one before it in a chain,
 * an array of results behind a group; see flows_input() in common/flows.h. JSON null when there is
 * none. At most 32 levels deep (ERR_INVALID). Read from the database at each call; owned by the
 * caller. */
enum err_code task_input(struct task_run *run, json_t **ret_input, struct err *e) MUST_CHECK;

/* For a job of many parts, a long list say: commits what was written since task_begin(), and with
 * it `data` (JSON, at most JOB_CHECKPOINT_MAX bytes): where the next part begins. What stands there
 * has taken effect, once, whatever becomes of the job; the jobs that it added go out. task_begin()
 * opens the next part. Whoever runs the job again, after a failure, a crash, a snooze or a retry by
 * hand, goes on from there.
 *
 *   if (task_last_checkpoint(run, &last, e))
 *       return task_outcome_of(e);
 *   for (i = json_integer_value(last); i < rows; i += PART) {
 *       if (task_begin(run, e) || rows_import(run->db, i, PART, e) ||
 *           task_checkpoint(run, next = json_integer(i + PART), e))
 *           return task_outcome_of(e);
 *   }
 *
 * ERR_CONFLICT: the job was cancelled, or another has taken it over; the part is rolled back. Any
 * error ends the run: return task_outcome_of(e). A fast job becomes a row by it, and runs again; a
 * member of a batch cannot have any (ERR_INVALID). */
enum err_code task_checkpoint(struct task_run *run, const json_t *data, struct err *e) MUST_CHECK;

/* What was kept last, by whatever attempt; JSON null: nothing yet. Read from the database at each
 * call; owned by the caller. */
enum err_code task_last_checkpoint(struct task_run *run, json_t **ret_data,
                                   struct err *e) MUST_CHECK;

/* Until the soft limit; 0 or less once it is over or the job was revoked. */
int64_t task_time_left_us(const struct task_run *run);

/* Says something about this job, for whoever watches it (`till task logs`). It is seen within a
 * second, also from inside the transaction, and stays when that is rolled back. One line; of an
 * attempt at most JOB_LOG_LINES_MAX and JOB_LOG_BYTES_MAX, what comes after is cut. No secrets. */
void task_log(struct task_run *run, enum job_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* How far it is: `done` of `total` (0: not known), and what it is at, or NULL. Call it as often as
 * you like: the last one that is not written yet counts. */
void task_progress(struct task_run *run, int64_t done, int64_t total, const char *text);

/* Whether to call a server outside now. If not, it has given no answer lately or holds half of the
 * slots already: return TASK_SNOOZE, which costs no attempt. After a call, task_called(): whether
 * the server said anything at all. */
bool task_may_call(struct task_run *run, struct breaker *breaker);
void task_called(struct breaker *breaker, const char *server, bool answered);

/* Whether somebody has cancelled the job: whatever it does from here on is not committed, so a long
 * loop asks from time to time and returns TASK_RETRY. It is not interrupted; `till task revoke
 * --terminate` ends the process of a handler that does not heed it within seconds. */
bool task_is_revoked(const struct task_run *run);

/* Sleeps until the (monotonic) time; false: the job was revoked meanwhile, or is past its soft
 * limit then. For tasks that are made of waiting: others give a delay to TASK_RETRY. */
bool task_sleep_until(const struct task_run *run, int64_t until_us);

/* ---- many at once: run_many() ----
 *
 * Gets the jobs of its task that wait, decides about all of them, and writes their effects by
 * statements over arrays, in one transaction. TASK_DONE commits it together with the success of
 * every member, each behind its own fence.
 *
 *   for each member: read its arguments; what is wrong: task_mark(member, TASK_FAIL, ...)
 *   if (task_batch_begin(batch, e) || things_mark_many(batch->db, ..., e))
 *       return task_outcome_of(e);
 *   return TASK_DONE;
 *
 * It is called again, with fewer members, until each one has its end: without those that it has
 * marked once the transaction had begun, since an effect of theirs may stand in it, and without
 * those that are another's by now; and after a failure with one half, then the other, so that the
 * one that fails is found. So nothing may be remembered between calls, and what is outside the
 * database has to be idempotent, as for run().
 *
 * What it returns is meant for the batch:
 *   TASK_DONE   all members but the marked ones are done
 *   TASK_RETRY  before task_batch_begin(): what all of them need is away; all are tried again later
 *               after it: one of them went wrong, find it
 *   TASK_FAIL   one of them went wrong, find it
 *   TASK_SNOOZE all of them are put off
 *
 * Limits of time are for one call. A job whose worker has died in it runs alone the next time. */

/* This member is not done. Leave it out of what is written; it is settled by itself. The first mark
 * wins. */
void task_mark(struct task_member *member, enum task_outcome outcome, enum err_code code,
               const char *format, ...) __attribute__((format(printf, 4, 5)));
bool task_is_marked(const struct task_member *member);

/* Opens the transaction of the batch. */
enum err_code task_batch_begin(struct task_batch *batch, struct err *e) MUST_CHECK;

/* ERR_INVALID when the result is longer than it may be. The caller of run() asks, not the task. */
enum err_code task_check_result(const struct task_run *run, struct err *e) MUST_CHECK;

/* Likewise: the jobs that this one added are committed, and go into their streams. */
void task_push_follow_ups(struct task_run *run);

/* TASK_RETRY for what may pass (a server away, a time-out), TASK_FAIL for the rest. */
enum task_outcome task_outcome_of(const struct err *e);

#endif
