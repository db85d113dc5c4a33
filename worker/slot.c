/* SPDX-License-Identifier: MIT
 *
 * Running one job after the other; see slot.h. Decodes the arguments, calls the task within its
 * limits, and hands the outcome to settle(). Owns the slot's connections.
 */
#include "worker/slot.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/job_headers.h"
#include "common/jobs.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/conceal.h"
#include "worker/deadlines.h"
#include "worker/events.h"
#include "worker/gateway.h"
#include "worker/interrupt.h"
#include "worker/journal.h"
#include "worker/mailer.h"
#include "worker/run_many.h"
#include "worker/settle.h"
#include "worker/task.h"
#include "worker/task_end.h"

enum {
    SLOT_REDIS_TIMEOUT_MS = 3000,
    JOURNAL_WAIT_MS = 2000,
    UNKNOWN_TASK_LIMIT_S = 60,
    UPDATE_S = 86400, /* nobody rolls a version out for longer */

    /* How often the wait of a second is doubled: to half a minute where others know the task, to
     * four minutes where nobody does so far. */
    UNKNOWN_HERE_DOUBLINGS = 5,
    UNKNOWN_ANYWHERE_DOUBLINGS = 8,
    /* So many of those waits are a day. */
    UNKNOWN_ANYWHERE_WAITS = UNKNOWN_ANYWHERE_DOUBLINGS + (UPDATE_S >> UNKNOWN_ANYWHERE_DOUBLINGS),
};

void slot_set_log_context(const struct slot *slot, const struct item *item,
                          const struct task_run *run)
{
    struct trace trace;

    log_context_set("job_id", run->id.text);
    log_context_set("task", item->job.task ? item->job.task : item->delivery.task);
    log_context_set_int("attempt", run->attempt);
    log_context_set("queue", slot->process->streams[item->delivery.stream].queue);
    log_context_set("trace_id", item_trace_id(item, &trace));
    log_context_set_json("headers", item->headers_line);
}

void slot_clear_log_context(void)
{
    log_context_set("job_id", NULL);
    log_context_set("task", NULL);
    log_context_set("attempt", NULL);
    log_context_set("queue", NULL);
    log_context_set("trace_id", NULL);
    log_context_set_json("headers", NULL);
}

/* Their size was judged when the job was accepted: PostgreSQL gives them back with blanks, longer
 * than they came. */
static enum err_code read_arguments(const char *text, const char *none, json_t **ret_value,
                                    struct err *e)
{
    text = text ? text : none;
    return json_read(text, strlen(text), SIZE_MAX, ret_value, e);
}

enum err_code slot_decode(const struct item *item, json_t **ret_args, json_t **ret_kwargs,
                          struct err *e)
{
    bool fast = item_is_fast(item);
    const char *args_text = fast ? item->delivery.args : item->job.args;
    const char *kwargs_text = fast ? item->delivery.kwargs : item->job.kwargs;
    enum err_code rc = read_arguments(args_text, "[]", ret_args, e);

    if (!rc)
        rc = read_arguments(kwargs_text, "{}", ret_kwargs, e);
    if (!rc && (!json_is_array(*ret_args) || !json_is_object(*ret_kwargs)))
        rc = err_set(e, ERR_INVALID, "args are no JSON array or kwargs no JSON object");
    return rc;
}

/* Puts it off for a second, then for twice as long each time. */
static enum task_outcome put_off(struct task_run *run, int doublings)
{
    int times = run->snoozes < doublings ? run->snoozes : doublings;

    run->retry_after_us = US_PER_S << times;
    return TASK_SNOOZE;
}

/* While versions are rolled out, workers that know a task and workers that do not share its queue,
 * and its first jobs may come before the first worker that knows it: they are put off, at the cost
 * of no attempt, until one of those has them. */
static enum task_outcome leave_to_others(const struct settling *s, struct task_run *run,
                                         struct err *e)
{
    const struct item *item = s->item;
    const char *task = item_is_fast(item) ? item->delivery.task : item->job.task;
    bool declared = false;

    if (jobs_task_is_declared(s->db, task, UPDATE_S, &declared, e))
        return TASK_RETRY;
    if (declared) {
        (void)err_set(e, ERR_UNAVAILABLE, "this worker does not know the task, but another does");
        return put_off(run, UNKNOWN_HERE_DOUBLINGS);
    }
    if (run->snoozes < UNKNOWN_ANYWHERE_WAITS) {
        (void)err_set(e, ERR_UNAVAILABLE,
                      "no worker knows the task; it waits for one, for a day in all");
        return put_off(run, UNKNOWN_ANYWHERE_DOUBLINGS);
    }
    (void)err_set(e, ERR_UNAVAILABLE, "this worker does not know the task");
    return TASK_RETRY;
}

static enum task_outcome call(const struct settling *s, struct task_run *run, struct err *e)
{
    AUTO(json_decref) json_t *args = NULL;
    AUTO(json_decref) json_t *kwargs = NULL;
    enum task_outcome outcome;

    if (!s->task)
        return leave_to_others(s, run, e);
    if (slot_decode(s->item, &args, &kwargs, e))
        return TASK_FAIL;
    run->args = args;
    run->kwargs = kwargs;
    outcome = s->task->run(run, e);
    if (outcome == TASK_DONE && task_check_result(run, e))
        outcome = TASK_FAIL;
    run->args = NULL;
    run->kwargs = NULL;
    return outcome;
}

static int max_attempts_of(const struct item *item)
{
    if (!item_is_fast(item))
        return item->job.max_attempts;
    return item->task ? item->task->max_attempts : JOB_DEFAULT_ATTEMPTS;
}

/* Headers were judged when they were accepted. */
static json_t *read_headers(const char *text)
{
    json_t *headers = NULL;

    return text && !json_read(text, strlen(text), SIZE_MAX, &headers, NULL) ? headers : NULL;
}

/* What may be seen of the headers goes to the log and, so far as it is meant to, to others. */
static json_t *show_headers(struct item *item, const char *text)
{
    AUTO(json_decref) json_t *shown = conceal_headers(item, text);

    mem_free(item->headers_line);
    item->headers_line = job_headers_line(shown);
    return job_headers_outgoing(shown);
}

struct task_run slot_begin_run(const struct slot *slot, struct item *item)
{
    bool fast = item_is_fast(item);
    int64_t now_us = clock_mono_us();
    struct deadline limit = {.soft_us = UNKNOWN_TASK_LIMIT_S * US_PER_S};
    const char *text = fast ? item->delivery.headers : item->job.headers;
    json_t *headers = read_headers(text);

    atomic_store_explicit(&item->slot, slot->index, memory_order_relaxed);
    atomic_store_explicit(&item->begun_us, now_us, memory_order_relaxed);
    item->limit_cell = &slot->process->seat->slots[slot->index].limit_us;
    if (item->task) {
        limit = deadlines_of(slot->process->deadlines, item->task, headers);
        item->hard_us = limit.hard_us;
        item_set_limit(item, now_us + limit.hard_us);
    }
    return (struct task_run){
        .id = fast ? item->delivery.id : item->job.id,
        .attempt = fast ? 1 : item->job.attempt,
        .max_attempts = max_attempts_of(item),
        .traceparent = fast ? item->delivery.traceparent : item->job.traceparent,
        .headers = headers,
        .headers_out = text ? show_headers(item, text) : NULL,
        .snoozes = fast ? 0 : item->job.snoozes,
        .journal = fast ? NULL : slot->process->journal,
        .deadline_us = now_us + limit.soft_us,
        .conf = slot->process->conf,
        .db = slot->db,
        .redis = slot->redis,
        .gateway = slot->gateway,
        .mailer = slot->mailer,
        .gateway_breaker = &slot->process->gateway_breaker,
        .mail_breaker = &slot->process->mail_breaker,
        .interrupts = slot->process->interrupts,
        .item = item,
    };
}

void slot_lift_limit(struct item *item)
{
    item_set_limit(item, 0);
    atomic_store_explicit(&item->begun_us, 0, memory_order_relaxed);
}

/* What a job has said is there before its end is. */
void slot_flush_journal(const struct task_run *run)
{
    if (run->journal_number)
        journal_flush(run->journal, run->journal_number, JOURNAL_WAIT_MS * US_PER_MS);
}

enum task_outcome slot_check_end(struct db *db, const struct db_tx *tx, enum task_outcome outcome,
                                 struct err *e)
{
    outcome = task_end_judge(db, tx, outcome, e);
    if (tx->db)
        return outcome;
    if (db_transaction_is_open(db)) {
        db_rollback(&(struct db_tx){.db = db}); /* or nothing else would be sent, its end neither */
        db_disconnect(db);
    }
    slot_leave_changed_session(db);
    return outcome;
}

void slot_leave_changed_session(struct db *db)
{
    if (!db_session_is_changed(db))
        return;
    log_debug("session_left");
    db_disconnect(db);
}

void slot_end_run(struct task_run *run)
{
    json_decref(run->headers);
    json_decref(run->headers_out);
    mem_free(run->result);
    mem_free(run->follow_ups);
}

/* A success without a transaction of its own may be written together with others. */
static bool may_be_deferred(const struct settling *s, const struct task_run *run,
                            enum task_outcome outcome)
{
    return outcome == TASK_DONE && s->item->delivery.kind == DELIVERY_DURABLE && !run->tx.db &&
           run->follow_up_count == 0;
}

static void log_done(const struct settling *s, int64_t runtime_us)
{
    /* Fast jobs come at a rate that no log should see. */
    if (item_is_fast(s->item))
        log_debug("job_done", L_INT("runtime_us", runtime_us));
    else
        log_info("job_done", L_INT("runtime_us", runtime_us));
}

/* Runs one job; settles it, unless it can wait for the end of the batch. Gives how long the job
 * itself took: what a batch shares is not counted, or no batch would ever look worth while. */
static int64_t run_job(struct slot *slot, const struct settling *s, bool defer, struct batch *batch,
                       bool *ret_acknowledge)
{
    struct task_run run = slot_begin_run(slot, s->item);
    int64_t began_us = clock_mono_us();
    int64_t runtime_us;
    struct err e = {0};
    enum task_outcome outcome;
    bool deferrable;

    slot_set_log_context(slot, s->item, &run);
    gateway_set_trace(slot->gateway, run.traceparent);
    gateway_set_headers(slot->gateway, run.headers_out);
    if (s->item->delivery.kind == DELIVERY_DURABLE)
        events_add(slot->process->events, s->item, JOB_STARTED, 0);
    CRASH_POINT("run.before");
    outcome = call(s, &run, &e);
    outcome = slot_check_end(slot->db, &run.tx, outcome, &e);
    CRASH_POINT("run.after");
    slot_flush_journal(&run);
    gateway_set_trace(slot->gateway, NULL);
    gateway_set_headers(slot->gateway, NULL);
    slot_lift_limit(s->item);
    runtime_us = clock_mono_us() - began_us;
    run.ran_us = runtime_us;
    deferrable = may_be_deferred(s, &run, outcome);
    if (defer && deferrable) {
        char *result = TAKE(run.result);

        batch->successes[batch->count++] = (struct success){
            .item = s->item, .result = result, .runtime_us = runtime_us, .ok = ret_acknowledge};
    } else {
        *ret_acknowledge = settle(s, &run, outcome, &e);
        if (!deferrable)
            runtime_us = clock_mono_us() - began_us;
        if (outcome == TASK_DONE && *ret_acknowledge)
            log_done(s, runtime_us);
    }
    db_rollback(&run.tx);
    slot_leave_changed_session(slot->db);
    slot_end_run(&run);
    slot_clear_log_context();
    return runtime_us;
}

static int64_t run_item(struct slot *slot, struct item *item, bool defer, struct batch *batch,
                        bool *ret_acknowledge)
{
    const struct settling s = {
        .process = slot->process, .db = slot->db, .task = item->task, .item = item};

    *ret_acknowledge = false;
    if (item->delivery.kind != DELIVERY_UNDECODABLE)
        return run_job(slot, &s, defer, batch, ret_acknowledge);
    *ret_acknowledge = settle_undecodable(&s);
    return 0;
}

/* Runs what the pool gave, one after the other, and writes the successes together. */
static void run_batch(struct slot *slot, struct item **items, size_t count)
{
    struct pool *pool = slot->process->pool;
    bool acknowledge[SLOT_BATCH_MAX];
    AUTO(mem_free) struct success *successes = mem_array(count, sizeof *successes);
    struct batch batch = {.successes = successes};
    int64_t runtime_us = 0;
    int alike = 0;

    for (size_t i = 0; i < count; i++) {
        if (atomic_load(&items[i]->revoked)) {
            acknowledge[i] = true;    /* before it began: there is nothing to run or to write */
        } else if (!items[i]->lost) { /* it does not run, and says nothing of its task */
            /* One alone, too, where it has a place that others may wait for. */
            runtime_us += run_item(slot, items[i], count > 1 || items[i]->job.has_places, &batch,
                                   &acknowledge[i]);
            alike++;
        } else {
            acknowledge[i] = false; /* another may be running it: leave it alone */
        }
        if (i + 1 == count || items[i + 1]->task != items[i]->task) {
            pool_note_runtime(pool, items[i]->task, runtime_us, alike);
            runtime_us = 0;
            alike = 0;
        }
    }
    settle_successes(slot->process, slot->db, &batch);
    interrupts_give_places(slot->db, items, acknowledge, count);
    pool_finish(pool, items, acknowledge, count);
}

void slot_main(const struct slot_place *place)
{
    struct slot slot = {.process = place->process, .index = place->index};
    const struct conf *conf = slot.process->conf;
    const struct gateway_place gateway = gateway_place_of(conf);
    const struct mail_place mail = mail_place_of(conf);
    struct item *items[SLOT_BATCH_MAX];
    struct err e = {0};
    size_t count;

    (void)pthread_setname_np(pthread_self(), "slot");
    log_context_set("worker", slot.process->name);
    meter_attach(slot.process->meters, slot.index);
    slot.db = db_open(conf->database_url, "till-worker");
    slot.redis = redis_open(conf->redis_url, "till-worker-slot", SLOT_REDIS_TIMEOUT_MS);
    slot.gateway = gateway_open(&gateway);
    slot.mailer = mailer_open(&mail);
    /* The first job should not pay for it. Where it fails, the first job finds out. */
    if (db_connect(slot.db, &e))
        log_debug("slot_not_connected", L_ERR(&e));
    while ((count = pool_take(slot.process->pool, items, SLOT_BATCH_MAX)) > 0) {
        if (items[0]->task && items[0]->task->run_many)
            run_many(&slot, items, count);
        else
            run_batch(&slot, items, count);
        atomic_store_explicit(&slot.process->seat->slots[slot.index].limit_us, 0,
                              memory_order_relaxed);
    }
    mailer_close(slot.mailer);
    gateway_close(slot.gateway);
    redis_close(slot.redis);
    db_close(slot.db);
}
