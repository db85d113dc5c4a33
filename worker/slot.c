/* SPDX-License-Identifier: MIT
 *
 * Running one job after the other; see slot.h. Decodes the arguments, calls the task within its
 * limits, and hands the outcome to settle(). Owns the slot's connections, all made when first used.
 */
#include "worker/slot.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/gateway.h"
#include "worker/mailer.h"
#include "worker/settle.h"
#include "worker/task.h"
#include "worker/tasks.h"

enum { SLOT_REDIS_TIMEOUT_MS = 3000 };

struct slot {
    struct process *process;
    struct db *db;
    struct redis *redis;
    struct gateway *gateway;
    struct mailer *mailer;
};

static void set_log_context(const struct item *item, const struct task_run *run)
{
    char attempt[16];

    (void)snprintf(attempt, sizeof attempt, "%d", run->attempt);
    log_context_set("job_id", run->id.text);
    log_context_set("task", item->job.task ? item->job.task : item->delivery.task);
    log_context_set("attempt", attempt);
}

static void clear_log_context(void)
{
    log_context_set("job_id", NULL);
    log_context_set("task", NULL);
    log_context_set("attempt", NULL);
}

/* Reads args and kwargs; both owned by the caller. */
static enum err_code decode(const char *args_text, const char *kwargs_text, json_t **ret_args,
                            json_t **ret_kwargs, struct err *e)
{
    enum err_code rc = json_read(args_text, strlen(args_text), JOB_ARGS_MAX, ret_args, e);

    if (!rc)
        rc = json_read(kwargs_text, strlen(kwargs_text), JOB_ARGS_MAX, ret_kwargs, e);
    if (!rc && (!json_is_array(*ret_args) || !json_is_object(*ret_kwargs)))
        rc = err_set(e, ERR_INVALID, "args are no JSON array or kwargs no JSON object");
    return rc;
}

static enum task_outcome call(const struct settling *s, struct task_run *run, struct err *e)
{
    const struct item *item = s->item;
    bool fast = item->delivery.kind == DELIVERY_FAST;
    AUTO(json_decref) json_t *args = NULL;
    AUTO(json_decref) json_t *kwargs = NULL;
    enum task_outcome outcome;

    if (!s->task) {
        /* A newer build may know it: in a rolling upgrade it must not die here. */
        (void)err_set(e, ERR_UNAVAILABLE, "this worker does not know the task");
        return TASK_RETRY;
    }
    if (decode(fast ? item->delivery.args : item->job.args,
               fast ? item->delivery.kwargs : item->job.kwargs, &args, &kwargs, e))
        return TASK_FAIL;
    run->args = args;
    run->kwargs = kwargs;
    outcome = s->task->run(run, e);
    run->args = NULL;
    run->kwargs = NULL;
    return outcome;
}

static struct task_run begin_run(const struct slot *slot, const struct settling *s)
{
    const struct item *item = s->item;
    bool fast = item->delivery.kind == DELIVERY_FAST;
    int64_t now_us = clock_mono_us();
    int soft_s = s->task ? s->task->soft_limit_s : 60;

    if (s->task)
        pool_set_hard_limit(slot->process->pool, s->item,
                            now_us + s->task->hard_limit_s * US_PER_S);
    return (struct task_run){
        .id = fast ? item->delivery.id : item->job.id,
        .attempt = fast ? 1 : item->job.attempt,
        .max_attempts = !fast     ? item->job.max_attempts
                        : s->task ? s->task->max_attempts
                                  : JOB_DEFAULT_ATTEMPTS,
        .deadline_us = now_us + soft_s * US_PER_S,
        .conf = slot->process->conf,
        .db = slot->db,
        .gateway = slot->gateway,
        .mailer = slot->mailer,
    };
}

static bool run_job(struct slot *slot, const struct settling *s)
{
    struct task_run run = begin_run(slot, s);
    int64_t began_us = clock_mono_us();
    struct err e = {0};
    enum task_outcome outcome;
    bool acknowledge;

    set_log_context(s->item, &run);
    outcome = call(s, &run, &e);
    acknowledge = settle(s, &run, outcome, &e);
    if (outcome == TASK_DONE && acknowledge)
        log_info("job_done", L_INT("runtime_us", clock_mono_us() - began_us));
    db_rollback(&run.tx);
    mem_free(run.result);
    clear_log_context();
    return acknowledge;
}

static void run_item(struct slot *slot, struct item *item)
{
    const char *task = item->job.task ? item->job.task : item->delivery.task;
    struct settling s = {.process = slot->process,
                         .db = slot->db,
                         .redis = slot->redis,
                         .task = task ? task_find(task) : NULL,
                         .item = item};
    bool acknowledge = false;

    /* A lost lease means that another may be running it: leave it alone. */
    if (!item->lost)
        acknowledge = item->delivery.kind == DELIVERY_UNDECODABLE ? settle_undecodable(&s)
                                                                  : run_job(slot, &s);
    pool_finish(slot->process->pool, item, acknowledge);
}

void *slot_main(void *process)
{
    struct slot slot = {.process = process};
    const struct conf *conf = slot.process->conf;
    struct item *item;

    log_context_set("worker", slot.process->name);
    slot.db = db_open(conf->database_url, "till-worker");
    slot.redis = redis_open(conf->redis_url, "till-worker-slot", SLOT_REDIS_TIMEOUT_MS);
    slot.gateway = gateway_open(conf->gateway_url, conf->gateway_secret_key);
    slot.mailer = mailer_open(conf->smtp_url, conf->mail_from);
    while ((item = pool_take(slot.process->pool)) != NULL)
        run_item(&slot, item);
    mailer_close(slot.mailer);
    gateway_close(slot.gateway);
    redis_close(slot.redis);
    db_close(slot.db);
    return NULL;
}
