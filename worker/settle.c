/* SPDX-License-Identifier: MIT
 *
 * Settlement; see settle.h. The rules:
 *  - success is written in the transaction of the job's own effect, fenced by its attempt;
 *  - whoever loses the fence rolls back and leaves the entry to the new owner;
 *  - a commit without an answer is settled as a failure behind the same fence: had it been done,
 *    the fence finds SUCCESS and nothing happens; had it not, the job is tried again;
 *  - while PostgreSQL is away nothing is acknowledged; the slot waits with its job.
 */
#include "worker/settle.h"

#include <sodium.h>

#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/jobs_run.h"
#include "common/jobs_succeed.h"
#include "common/jobs_snooze.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/text.h"
#include "worker/conceal.h"
#include "worker/events.h"
#include "worker/passing.h"
#include "worker/report.h"

enum { WAIT_FOR_DATABASE_MS = 200 };

/* As the task declares, else as the settings say. */
static int64_t backoff_us(const struct settling *s, int failures)
{
    const struct conf *conf = s->process->conf;
    struct backoff backoff = s->task ? s->task->retry : (struct backoff){0};
    uint64_t random;

    if (backoff.base_us == 0)
        backoff.base_us = conf->retry_base_ms * US_PER_MS;
    if (backoff.max_us == 0)
        backoff.max_us = conf->retry_max_seconds * US_PER_S;
    randombytes_buf(&random, sizeof random);
    return job_backoff_us(&backoff, failures, random);
}

/* What the task asks for, which may come from some server. */
static int64_t wanted_us(const struct task_run *run)
{
    return run->retry_after_us < TASK_SNOOZE_MAX_S * US_PER_S ? run->retry_after_us
                                                              : TASK_SNOOZE_MAX_S * US_PER_S;
}

/* Wait before the next attempt; negative when this was the last. */
static int64_t retry_delay_us(const struct settling *s, const struct task_run *run,
                              enum task_outcome outcome)
{
    int64_t delay_us;

    if (outcome == TASK_FAIL || run->attempt >= run->max_attempts)
        return -1;
    delay_us = backoff_us(s, run->attempt - run->snoozes);
    return run->retry_after_us > delay_us ? wanted_us(run) : delay_us;
}

static int64_t snooze_delay_us(const struct task_run *run)
{
    return run->retry_after_us > 0 ? wanted_us(run) : TASK_SNOOZE_S * US_PER_S;
}

/* ---- success ---- */

static enum err_code commit_success(const struct settling *s, struct task_run *run, struct err *e)
{
    struct attempt attempt = item_attempt(s->item);
    enum err_code rc = run->tx.db ? jobs_succeed_later(s->db, &attempt, run->result, e)
                                  : jobs_succeed(s->db, &attempt, run->result, e);

    CRASH_POINT("settle.before_commit");
    if (run->tx.db && !rc)
        return db_commit(&run->tx, e);
    db_rollback(&run->tx);
    return rc;
}

/* ---- failure ---- */

/* An end that is no success. */
struct end {
    bool is_snooze;        /* the job puts itself off */
    int64_t delay_us;      /* until it runs again; negative: never */
    const struct err *why; /* of a snooze, its code may be OK: none was given */
};

static enum err_code write_snooze(const struct settling *s, const struct task_run *run,
                                  const struct end *end, bool *ret_superseded, struct err *e)
{
    struct attempt attempt = item_attempt(s->item);
    const char *reason = end->why->code ? end->why->text : NULL;

    if (item_is_fast(s->item))
        return jobs_snooze_fast(s->db, &s->item->delivery,
                                &s->process->streams[s->item->delivery.stream], s->process->name,
                                run->max_attempts, end->delay_us, reason, e);
    return jobs_snooze(s->db, &attempt, end->delay_us, reason, ret_superseded, e);
}

static enum err_code write_end(const struct settling *s, const struct task_run *run,
                               const struct end *end, bool *ret_superseded, struct err *e)
{
    struct attempt attempt = item_attempt(s->item);
    const struct err *why = end->why;
    const char *detail = *why->detail ? why->detail : NULL;

    if (end->is_snooze)
        return write_snooze(s, run, end, ret_superseded, e);
    if (item_is_fast(s->item))
        return jobs_adopt_fast(s->db, &s->item->delivery,
                               &s->process->streams[s->item->delivery.stream], s->process->name,
                               run->max_attempts, end->delay_us, why->text, detail, e);
    return jobs_fail(s->db, &attempt, end->delay_us, why->text, detail, ret_superseded, e);
}

void settle_count(struct process *process, const struct item *item, enum meter_end end,
                  int64_t ran_us)
{
    static const enum job_state states[] = {
        [METER_SUCCEEDED] = JOB_SUCCESS, [METER_FAILED] = JOB_FAILURE, [METER_RETRIED] = JOB_RETRY};

    events_add(process->events, item, states[end], ran_us);
    meter_count(item->task, item->delivery.stream, end, ran_us);
}

/* Whether the entry of a job that is not ours any more can go: it may when the job was cancelled,
 * else it is that of whoever has taken over. */
static bool is_over(const struct item *item) { return atomic_load(&item->revoked); }

static void note_end(const struct settling *s, const struct task_run *run, const struct end *end)
{
    int64_t delay_ms = end->delay_us / US_PER_MS;
    struct err shown;

    conceal_err(s->item, end->why, &shown);
    if (end->is_snooze) {
        events_add(s->process->events, s->item, JOB_PENDING, run->ran_us);
        log_info("job_snoozed", L_INT("delay_ms", delay_ms), L_INT("snoozes", run->snoozes + 1),
                 L_STR("reason", shown.code ? shown.text : NULL));
        return;
    }
    report_note_error(s->process, s->item, run->attempt, &shown);
    if (end->delay_us < 0) {
        settle_count(s->process, s->item, METER_FAILED, run->ran_us);
        log_error("job_failed", L_ERR(&shown));
    } else {
        settle_count(s->process, s->item, METER_RETRIED, run->ran_us);
        log_warn("job_retry", L_INT("delay_ms", delay_ms), L_ERR(&shown));
    }
}

/* A newer job took its unique key while it ran: it is over, whatever it asked for. */
static void note_superseded(const struct settling *s, const struct task_run *run,
                            const struct end *end)
{
    struct err shown;

    events_add(s->process->events, s->item, JOB_REVOKED, run->ran_us);
    if (end->is_snooze) {
        log_info("job_superseded");
        return;
    }
    conceal_err(s->item, end->why, &shown);
    log_info("job_superseded", L_ERR(&shown));
}

/* Whether to write again what was not taken, now: behind a wait while PostgreSQL is away, and once
 * after a refusal, in a new session. A task may have changed its own by a function (set_config()),
 * which nobody sees. */
static bool may_write_again(const struct settling *s, enum err_code rc, const struct err *why,
                            bool *was_refused)
{
    if (err_is_transient(rc)) {
        log_debug("settle_waits", L_ERR(why));
        return process_pause(s->process, WAIT_FOR_DATABASE_MS * US_PER_MS);
    }
    if (*was_refused) {
        log_error("settle_failed", L_ERR(why));
        return false;
    }
    *was_refused = true;
    db_disconnect(s->db);
    return true;
}

/* Writes it, however long PostgreSQL is away; gives up when the process ends. */
static bool settle_end(const struct settling *s, const struct task_run *run, const struct end *end)
{
    bool was_refused = false;

    for (;;) {
        struct err e = {0};
        bool is_superseded = false;
        enum err_code rc;

        CRASH_POINT("settle.before_end");
        rc = write_end(s, run, end, &is_superseded, &e);
        if (!rc) {
            CRASH_POINT("settle.end_written");
            if (is_superseded)
                note_superseded(s, run, end);
            else
                note_end(s, run, end);
            return true;
        }
        if (rc == ERR_CONFLICT) {
            log_warn("job_not_ours", L_BOOL("revoked", is_over(s->item)), L_ERR(&e));
            return is_over(s->item);
        }
        if (!may_write_again(s, rc, &e, &was_refused))
            return false;
    }
}

static bool settle_failure(const struct settling *s, const struct task_run *run,
                           enum task_outcome outcome, const struct err *why)
{
    const struct end end = {.delay_us = retry_delay_us(s, run, outcome), .why = why};

    return settle_end(s, run, &end);
}

/* ---- the decision ---- */

/* A data exception of a fence, or one too complex: nothing else in it comes from the task. */
bool settle_is_result_refused(const struct db *db)
{
    const char *state = db_sqlstate(db);

    return text_starts(db_refused(db), "jobs_succeed") &&
           (text_starts(state, "22") || text_starts(state, "54"));
}

static bool is_result_refused(const struct settling *s, const struct task_run *run)
{
    return run->result && settle_is_result_refused(s->db);
}

/* What stands in a transaction is rolled back when it cannot be committed, and has to be run again.
 * A job without one has done all it does, and only its end has to be written: it waits for that,
 * since another run would send its mail again. An end that was written without our hearing of it
 * does not pass the fence again. */
static enum err_code write_success(const struct settling *s, struct task_run *run, struct err *e)
{
    bool is_done = !run->tx.db;
    bool was_refused = false;

    if (item_is_fast(s->item))
        return is_done ? ERR_OK : db_commit(&run->tx, e);
    for (;;) {
        enum err_code rc = commit_success(s, run, e);

        if (!rc || !is_done || rc == ERR_CONFLICT || is_result_refused(s, run) ||
            !may_write_again(s, rc, e, &was_refused))
            return rc;
        *e = (struct err){0};
    }
}

void settle_say_refused(struct err *e, const char *detail)
{
    (void)err_set_detail(e, ERR_INVALID, detail, "the result is no JSON that PostgreSQL takes");
}

static bool settle_success(const struct settling *s, struct task_run *run, struct err *e)
{
    enum err_code rc = write_success(s, run, e);

    if (rc == ERR_CONFLICT && !*db_constraint(s->db)) {
        log_warn("job_not_ours", L_BOOL("revoked", is_over(s->item)), L_ERR(e));
        return is_over(s->item);
    }
    if (rc && is_result_refused(s, run)) {
        struct err why = {0};

        settle_say_refused(&why, e->detail);
        return settle_failure(s, run, TASK_FAIL, &why);
    }
    if (rc)
        return settle_failure(s, run, TASK_RETRY, e);
    CRASH_POINT("settle.committed");
    settle_count(s->process, s->item, METER_SUCCEEDED, run->ran_us);
    task_push_follow_ups(run);
    CRASH_POINT("settle.pushed");
    return true;
}

/* ---- many at once ---- */

static void release(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        mem_free(batch->successes[i].result);
    batch->count = 0;
}

/* `next`: whom places were passed on to. A statement without an answer may have done that. */
static enum err_code write_successes(struct db *db, const struct batch *batch, struct pass *pass,
                                     bool retried, struct passed_jobs *next, struct err *e)
{
    AUTO(mem_free) struct attempt *attempts = mem_array(batch->count, sizeof *attempts);
    AUTO(mem_free) const char **results = mem_array(batch->count, sizeof *results);
    AUTO(mem_free) bool *ours = mem_array(batch->count, sizeof *ours);
    bool have_places = false;
    enum err_code rc = ERR_OK;

    if (pass->is_wanted && retried) {
        rc = jobs_find_passed(db, &pass->to, next, e);
        pass->is_wanted = next->count == 0;
    }
    if (rc)
        return rc;
    for (size_t i = 0; i < batch->count; i++) {
        have_places |= batch->successes[i].item->job.has_places;
        attempts[i] = item_attempt(batch->successes[i].item);
        results[i] = batch->successes[i].result;
    }
    rc = pass->is_wanted
             ? jobs_succeed_passing(db, &pass->to, attempts, results, batch->count, ours, next, e)
             : jobs_succeed_many(db, attempts, results, batch->count, have_places, ours, e);
    for (size_t i = 0; !rc && i < batch->count; i++)
        *batch->successes[i].ok = ours[i];
    return rc;
}

static void note_successes(struct process *process, const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct success *success = &batch->successes[i];
        struct trace trace;
        const char *trace_id = item_trace_id(success->item, &trace);

        if (!*success->ok) {
            *success->ok = is_over(success->item);
            log_warn("job_not_ours", L_STR("job_id", success->item->job.id.text),
                     L_BOOL("revoked", *success->ok), L_STR("trace_id", trace_id),
                     L_JSON("headers", success->item->headers_line));
            continue;
        }
        settle_count(process, success->item, METER_SUCCEEDED, success->runtime_us);
        log_info("job_done", L_STR("job_id", success->item->job.id.text),
                 L_STR("task", success->item->job.task), L_STR("queue", success->item->job.queue),
                 L_INT("attempt", success->item->job.attempt), L_STR("trace_id", trace_id),
                 L_JSON("headers", success->item->headers_line),
                 L_INT("runtime_us", success->runtime_us));
    }
}

/* One of them cannot be written: each alone, so that it harms none of the others. */
static void write_one_by_one(struct process *process, struct db *db, const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct success *success = &batch->successes[i];
        const struct settling s = {
            .process = process, .db = db, .task = success->item->task, .item = success->item};
        struct task_run run = {.attempt = success->item->job.attempt,
                               .max_attempts = success->item->job.max_attempts,
                               .result = success->result,
                               .ran_us = success->runtime_us};
        struct err e = {0};

        *success->ok = settle_success(&s, &run, &e);
    }
}

void settle_successes(struct process *process, struct db *db, struct batch *batch)
{
    AUTO_VALUE(passed_jobs_release) struct passed_jobs next = {0};
    AUTO_VALUE(pass_release) struct pass pass;

    pass_init(&pass, process, batch);
    for (bool retried = false; batch->count > 0; retried = true) {
        struct err e = {0};
        enum err_code rc = write_successes(db, batch, &pass, retried, &next, &e);

        if (!rc) {
            CRASH_POINT("settle.batch_written");
            if (next.count > 0)
                pass_take(process, &next);
            note_successes(process, batch);
            break;
        }
        if (!err_is_transient(rc)) {
            write_one_by_one(process, db, batch);
            break;
        }
        log_debug("settle_waits", L_ERR(&e));
        if (!process_pause(process, WAIT_FOR_DATABASE_MS * US_PER_MS))
            break; /* unacknowledged: others take them over */
    }
    if (next.count > 0)
        pass_take(process, &next);
    release(batch);
}

bool settle(const struct settling *settling, struct task_run *run, enum task_outcome outcome,
            struct err *e)
{
    if (outcome == TASK_DONE)
        return settle_success(settling, run, e);
    db_rollback(&run->tx);
    if (outcome == TASK_SNOOZE) {
        const struct end end = {.is_snooze = true, .delay_us = snooze_delay_us(run), .why = e};

        return settle_end(settling, run, &end);
    }
    if (!e->code)
        (void)err_set(e, ERR_INTERNAL, "the task gave no reason");
    return settle_failure(settling, run, outcome, e);
}

bool settle_undecodable(const struct settling *settling)
{
    const struct queue_delivery *delivery = &settling->item->delivery;
    bool was_refused = false;

    for (;;) {
        struct err e = {0};
        enum err_code rc = jobs_bury_undecodable(settling->db, delivery,
                                                 &settling->process->streams[delivery->stream],
                                                 settling->process->name, &e);

        if (!rc) {
            CRASH_POINT("undecodable.written");
            settle_count(settling->process, settling->item, METER_FAILED, -1);
            log_error("entry_undecodable", L_STR("entry", delivery->entry),
                      L_STR("reason", delivery->reason));
            return true;
        }
        if (!may_write_again(settling, rc, &e, &was_refused))
            return false;
    }
}
