/* SPDX-License-Identifier: MIT
 *
 * What was read becomes ours: into the pool, claimed in one statement, and on to the slots or away;
 * see intake.h.
 */
#include "worker/intake.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/jobs_run.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/trace.h"
#include "worker/conceal.h"
#include "worker/tasks.h"

enum { PAUSE_MS = 100 /* between attempts to reach the database */ };

/* One batch: items in the pool (CLAIMING), and what the claim needs of them in arrays. */
struct claiming {
    struct item *items[INTAKE_MAX];
    struct queue_delivery keys[INTAKE_MAX]; /* shallow copies: ids and entries of durable jobs */
    struct claim claims[INTAKE_MAX];
    int max_attempts[INTAKE_MAX]; /* of fast jobs */
    size_t count;
    size_t fast_count; /* fast jobs that become rows: see must_be_durable() */
};

/* Items that go on together: to the slots, or to be acknowledged. */
struct items {
    struct item *list[INTAKE_MAX];
    size_t count;
};

static void finish(struct intake *intake, const struct items *items, bool acknowledge)
{
    bool marks[INTAKE_MAX];

    for (size_t i = 0; i < items->count; i++)
        marks[i] = acknowledge;
    if (items->count > 0)
        pool_finish(intake->process->pool, items->list, marks, items->count);
}

/* One line a batch: fast jobs come at a rate that no log should see. */
static void note_fast(struct intake *intake, int expired, int dropped_traces)
{
    atomic_fetch_add(&intake->process->dropped, (uint_fast64_t)expired);
    if (expired > 0)
        log_info("fast_jobs_expired", L_INT("count", expired));
    if (dropped_traces > 0)
        log_warn("traceparents_dropped", L_INT("count", dropped_traces));
}

static void add_to_claim(struct claiming *claiming, struct item *item)
{
    claiming->items[claiming->count] = item;
    claiming->keys[claiming->count++] = item->delivery;
}

void intake_release(struct intake *intake)
{
    limit_list_release(&intake->limits);
    buf_release(&intake->limited_tasks);
}

void intake_set_limits(struct intake *intake, struct limit_list *take_limits)
{
    intake_release(intake);
    buf_init(&intake->limited_tasks, LIMITS_MAX * (JOB_NAME_MAX + 8));
    intake->limits = *take_limits;
    *take_limits = (struct limit_list){0};
    intake->rules = (struct claim_rules){.keys = false};
    for (size_t i = 0; i < intake->limits.count; i++) {
        if (intake->limits.items[i].scope == LIMIT_TASK)
            db_array_add(&intake->limited_tasks, intake->limits.items[i].name);
        else
            intake->rules.keys = true;
    }
    db_array_end(&intake->limited_tasks);
    intake->rules.tasks = intake->limited_tasks.data;
}

static bool has_limit(const struct intake *intake, const char *task)
{
    for (size_t i = 0; i < intake->limits.count; i++)
        if (intake->limits.items[i].scope == LIMIT_TASK &&
            strcmp(intake->limits.items[i].name, task) == 0)
            return true;
    return false;
}

/* Nothing but a row can hold a fast job back, as a limit of its task does, or count its attempts.
 * One that comes from a worker that is gone may be what ended it: without a count it would end one
 * process after the other. */
static bool must_be_durable(const struct intake *intake, const struct queue_delivery *delivery)
{
    return delivery->taken_over || has_limit(intake, delivery->task);
}

static void make_durable(struct claiming *claiming, struct item *item)
{
    const struct task *task = task_find(item->delivery.task);

    item->delivery.kind = DELIVERY_DURABLE;
    claiming->max_attempts[claiming->count] = task ? task->max_attempts : JOB_DEFAULT_ATTEMPTS;
    claiming->fast_count++;
    add_to_claim(claiming, item);
}

/* Where the deliveries of one read go. */
struct sorting {
    struct claiming *claiming;
    struct items ready;
    struct items gone;
    int64_t now_us; /* wall */
    int expired;
    int dropped_traces;
};

static void put(struct items *items, struct item *item) { items->list[items->count++] = item; }

/* One that was taken over may have a row already: the claim ends it. */
static void sort_fast(struct intake *intake, struct sorting *sorting, struct item *item)
{
    const struct queue_delivery *delivery = &item->delivery;
    bool is_expired =
        !delivery->taken_over && delivery->expires_us && delivery->expires_us <= sorting->now_us;

    sorting->dropped_traces += delivery->trace_dropped;
    if (is_expired) {
        put(&sorting->gone, item);
        sorting->expired++;
    } else if (must_be_durable(intake, delivery)) {
        make_durable(sorting->claiming, item);
    } else {
        CRASH_POINT("fast.taken");
        item->task = task_find(delivery->task);
        put(&sorting->ready, item);
    }
}

/* Moves the deliveries into the pool. Fast jobs, and entries that are no jobs, need no claim. */
static void collect(struct intake *intake, struct queue_deliveries *deliveries,
                    struct claiming *claiming)
{
    struct pool *pool = intake->process->pool;
    struct sorting sorting = {.claiming = claiming, .now_us = clock_wall_us()};

    for (size_t i = 0; i < deliveries->count; i++) {
        struct queue_delivery *delivery = &deliveries->items[i];
        struct item *item;

        if (delivery->taken_over) {
            if (pool_holds(pool, delivery->stream, delivery->entry))
                continue; /* ours, and in work */
            atomic_fetch_add(&intake->process->taken_over, 1);
        }
        item = pool_add(pool, delivery);
        switch (item->delivery.kind) {
        case DELIVERY_GONE:
            put(&sorting.gone, item);
            break;
        case DELIVERY_FAST:
            sort_fast(intake, &sorting, item);
            break;
        case DELIVERY_UNDECODABLE:
            put(&sorting.ready, item);
            break;
        case DELIVERY_DURABLE:
            add_to_claim(claiming, item);
            break;
        }
    }
    note_fast(intake, sorting.expired, sorting.dropped_traces);
    finish(intake, &sorting.gone, true);
    if (sorting.ready.count > 0)
        pool_make_ready(pool, sorting.ready.list, sorting.ready.count, 0);
}

/* For the log; NULL when the job has no trace. */
static const char *trace_id(const struct job *job, char out[TRACE_ID_SIZE])
{
    struct trace trace;

    if (!job->traceparent || !trace_parse(job->traceparent, &trace))
        return NULL;
    memcpy(out, trace.id, TRACE_ID_SIZE);
    return out;
}

/* Of a job that has its end without having run. */
static void log_unrun(enum log_level level, const char *event, const struct job *job,
                      const char *error)
{
    AUTO(mem_free) char *headers = conceal_headers_line(task_find(job->task), job->headers);
    char id[TRACE_ID_SIZE];

    log_write(level, event, L_STR("job_id", job->id.text), L_STR("task", job->task),
              L_STR("trace_id", trace_id(job, id)), L_JSON("headers", headers),
              L_STR("error", error), L_END);
}

/* A waiting job that was replaced may be of another queue since. Its old entry must not bring it
 * past the pause and the limits of the new one, to workers that do not read that. */
static bool is_stray(const struct intake *intake, const struct item *item, const struct job *job)
{
    const struct queue_stream *stream = &intake->process->streams[item->delivery.stream];

    return job->priority != stream->priority || strcmp(job->queue, stream->queue) != 0;
}

/* Into the stream where it belongs. False: not now, it comes back by its entry. */
static bool redirect(struct intake *intake, const struct item *item, const struct job *job)
{
    struct queue_stream own = queue_stream_of(job->queue, job->priority);
    bool released = false;
    struct err e = {0};
    enum err_code rc =
        jobs_unclaim(intake->db, intake->process->name, item->delivery.entry, job, &released, &e);

    CRASH_POINT("stray.unclaimed");
    if (!rc && released)
        rc = queue_push(intake->redis, &own, &job->id, 1, &e);
    if (rc)
        log_warn("redirect_failed", L_STR("job_id", job->id.text), L_ERR(&e));
    else
        log_info("job_redirected", L_STR("job_id", job->id.text), L_STR("queue", job->queue));
    return !rc;
}

/* Claimed, and not to be run: they are too few to burden the claim of all others with a look. */
static void redirect_strays(struct intake *intake, struct claiming *claiming, const size_t *strays,
                            size_t count)
{
    struct item *items[INTAKE_MAX];
    bool over[INTAKE_MAX];

    for (size_t i = 0; i < count; i++) {
        struct job *job = &claiming->claims[strays[i]].job;

        items[i] = claiming->items[strays[i]];
        over[i] = redirect(intake, items[i], job);
        job_release(job);
    }
    if (count > 0)
        pool_finish(intake->process->pool, items, over, count);
    atomic_fetch_add(&intake->process->dropped, count);
}

static void distribute(struct intake *intake, struct claiming *claiming)
{
    struct items ready = {.count = 0};
    struct items over = {.count = 0};
    size_t strays[INTAKE_MAX];
    size_t stray_count = 0;

    for (size_t i = 0; i < claiming->count; i++) {
        struct claim *claim = &claiming->claims[i];
        struct item *item = claiming->items[i];

        switch (claim->result) {
        case CLAIM_RUN:
            if (is_stray(intake, item, &claim->job)) {
                strays[stray_count++] = i;
                break;
            }
            item->job = claim->job;
            item->task = task_find(item->job.task);
            put(&ready, item);
            break;
        case CLAIM_DEAD:
            meter_count(task_find(claim->job.task), claiming->keys[i].stream, METER_FAILED, -1);
            log_unrun(LOG_ERROR, "job_failed", &claim->job,
                      "its attempts are used up: it ended its workers");
            job_release(&claim->job);
            put(&over, item);
            break;
        case CLAIM_EXPIRED:
            atomic_fetch_add(&intake->process->dropped, 1);
            log_unrun(LOG_INFO, "job_expired", &claim->job, NULL);
            job_release(&claim->job);
            put(&over, item);
            break;
        case CLAIM_PARKED:
        case CLAIM_DROP:
            atomic_fetch_add(&intake->process->dropped, 1);
            put(&over, item);
            break;
        }
    }
    finish(intake, &over, true);
    if (ready.count > 0)
        pool_make_ready(intake->process->pool, ready.list, ready.count, 0);
    redirect_strays(intake, claiming, strays, stray_count);
}

/* Leaves the batch to others: without an acknowledgement, its entries come back. */
static void abandon(struct intake *intake, const struct claiming *claiming)
{
    struct items items = {.count = claiming->count};

    for (size_t i = 0; i < claiming->count; i++)
        items.list[i] = claiming->items[i];
    finish(intake, &items, false);
}

/* Those under whose ids there are other jobs already. */
static void take_own_ids(struct intake *intake, const struct claiming *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct uuid *id = &batch->keys[i].id;

        if (strcmp(batch->items[i]->delivery.id.text, id->text) == 0)
            continue;
        log_warn("job_renamed", L_STR("job_id", id->text),
                 L_STR("given", batch->items[i]->delivery.id.text));
        pool_rename(intake->process->pool, batch->items[i], id);
    }
}

static enum err_code claim_once(struct intake *intake, struct claiming *batch, bool retried,
                                struct err *e)
{
    struct claim_rules *rules = intake->limits.count > 0 ? &intake->rules : NULL;
    enum err_code rc = ERR_OK;

    if (batch->fast_count > 0) {
        rc = limits_make_rows(intake->db, batch->keys, batch->max_attempts, batch->count,
                              intake->process->streams, e);
        take_own_ids(intake, batch);
        CRASH_POINT("claim.rows_made");
    }
    if (rc)
        return rc;
    return jobs_claim(intake->db, intake->process->name, batch->keys, batch->count, rules, retried,
                      batch->claims, e);
}

/* A job that PostgreSQL will not have claimed, whatever its row holds: dead, so that somebody looks
 * at it. What cannot even be buried is left to its entry, which comes back. */
static void bury(struct intake *intake, const struct claiming *batch, const struct err *why)
{
    struct item *item = batch->items[0];
    const struct queue_delivery *delivery = &item->delivery;
    char error[sizeof why->text + sizeof why->detail];
    struct err e = {0};
    bool is_buried = false;

    (void)snprintf(error, sizeof error, "the job cannot be claimed: %s",
                   *why->detail ? why->detail : why->text);
    (void)!jobs_bury_unclaimable(intake->db, &delivery->id, error, &is_buried, &e);
    log_error("job_unclaimable", L_STR("job_id", delivery->id.text), L_STR("error", error),
              L_BOOL("buried", is_buried));
    if (is_buried)
        meter_count(NULL, delivery->stream, METER_FAILED, -1);
    pool_finish(intake->process->pool, &item, &is_buried, 1);
}

static void claim(struct intake *intake, struct claiming *batch);

/* One row that cannot be must not keep the others from being claimed. */
static void claim_one_by_one(struct intake *intake, const struct claiming *batch)
{
    AUTO(mem_free) struct claiming *one = mem_alloc(sizeof *one);

    for (size_t i = 0; i < batch->count; i++) {
        one->items[0] = batch->items[i];
        one->keys[0] = batch->keys[i];
        one->max_attempts[0] = batch->max_attempts[i];
        one->fast_count = batch->fast_count;
        one->count = 1;
        claim(intake, one);
    }
}

/* Claims until it is answered; the keeper renews the leases meanwhile. */
static void claim(struct intake *intake, struct claiming *batch)
{
    for (bool retried = false; batch->count > 0; retried = true) {
        struct err e = {0};
        enum err_code rc;

        CRASH_POINT("claim.before");
        rc = claim_once(intake, batch, retried, &e);
        if (!rc) {
            CRASH_POINT("claim.done");
            distribute(intake, batch);
            return;
        }
        if (rc == ERR_INVALID) {
            if (batch->count == 1)
                bury(intake, batch, &e);
            else
                claim_one_by_one(intake, batch);
            return;
        }
        process_note_doing(intake->process, ROLE_FETCH, "waits for the database", clock_mono_us());
        if (!retried)
            log_warn("claim_failed", L_ERR(&e));
        if (!process_pause(intake->process, PAUSE_MS * US_PER_MS)) {
            abandon(intake, batch);
            return;
        }
    }
}

/* How long the oldest of each stream waited there, by our clock; not of those taken over. */
static void note_lag(struct process *process, const struct queue_deliveries *deliveries)
{
    int64_t now_us = clock_wall_us();
    int64_t worst_us = atomic_load(&process->lag_us);

    for (size_t i = 0; i < deliveries->count; i++) {
        const struct queue_delivery *one = &deliveries->items[i];

        if (!one->taken_over && (i == 0 || one->stream != one[-1].stream)) {
            int64_t lag_us = now_us - queue_entry_time_us(one->entry);

            worst_us = lag_us > worst_us ? lag_us : worst_us;
        }
    }
    atomic_store(&process->lag_us, worst_us);
}

void intake_take(struct intake *intake, struct queue_deliveries *deliveries)
{
    AUTO(mem_free) struct claiming *batch = mem_alloc(sizeof *batch);

    CRASH_POINT("fetch.read");
    note_lag(intake->process, deliveries);
    collect(intake, deliveries, batch);
    claim(intake, batch);
}
