/* SPDX-License-Identifier: MIT
 *
 * What tasks call; see task.h.
 */
#include "worker/task.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "common/clock.h"
#include "common/flows.h"
#include "common/job_headers.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/queue.h"
#include "worker/breaker.h"
#include "worker/interrupt.h"
#include "worker/pool.h"

const char *task_arg_text(const struct task_run *run, size_t index)
{
    return json_string_value(json_array_get(run->args, index));
}

bool task_arg_int(const struct task_run *run, size_t index, int64_t min, int64_t max,
                  int64_t *ret_value)
{
    const json_t *arg = json_array_get(run->args, index);

    if (!json_is_integer(arg) || json_integer_value(arg) < min || json_integer_value(arg) > max)
        return false;
    *ret_value = json_integer_value(arg);
    return true;
}

const char *task_header(const struct task_run *run, const char *name)
{
    return json_string_value(json_object_get(run->headers, name));
}

enum err_code task_begin(struct task_run *run, struct err *e)
{
    if (run->batch)
        return task_batch_begin(run->batch, e);
    return run->tx.db ? ERR_OK : db_begin(run->db, &run->tx, e);
}

/* With those that it inherits; NULL: only its own. */
static char *headers_of(const struct task_run *run, const struct job_new *job)
{
    AUTO(json_decref) json_t *own = NULL;
    AUTO(json_decref) json_t *joined = NULL;

    if (!run->headers_out ||
        (job->headers && json_read(job->headers, strlen(job->headers), SIZE_MAX, &own, NULL)))
        return NULL; /* what is wrong is told where it is inserted */
    joined = job_headers_joined(own, run->headers_out);
    return joined ? json_write(joined) : NULL;
}

static enum err_code enqueue(struct task_run *run, const struct job_new *job, bool later,
                             struct err *e)
{
    AUTO(mem_free) char *headers = headers_of(run, job);
    struct job_new added = *job;
    struct job_ready *ready;
    enum err_code rc;

    if (run->follow_up_count == TASK_FOLLOW_UPS_MAX)
        return err_set(e, ERR_INTERNAL, "a task adds at most %d jobs", TASK_FOLLOW_UPS_MAX);
    if (!run->follow_ups)
        run->follow_ups = mem_array(TASK_FOLLOW_UPS_MAX, sizeof run->follow_ups[0]);
    if (!added.traceparent)
        added.traceparent = run->traceparent;
    if (headers)
        added.headers = headers;
    rc = task_begin(run, e);
    ready = &run->follow_ups[run->follow_up_count];
    if (!rc)
        rc = later ? jobs_insert_later(run->db, &added, ready, e)
                   : jobs_insert(run->db, &added, ready, e);
    if (!rc)
        run->follow_up_count++;
    return rc;
}

enum err_code task_enqueue(struct task_run *run, const struct job_new *job, struct err *e)
{
    return enqueue(run, job, false, e);
}

enum err_code task_enqueue_at_end(struct task_run *run, const struct job_new *job, struct err *e)
{
    return enqueue(run, job, true, e);
}

enum err_code task_enqueue_flow(struct task_run *run, const json_t *flow, struct uuid *ret_id,
                                struct err *e)
{
    AUTO(json_decref) json_t *traced = NULL;
    enum err_code rc = flow_with_trace(flow, run->traceparent, run->headers_out, &traced, e);

    if (!rc)
        rc = task_begin(run, e);
    return rc ? rc : flows_insert(run->db, traced, ret_id, e);
}

/* What cannot be pushed now, the scheduler delivers. */
void task_push_follow_ups(struct task_run *run)
{
    for (int i = 0; run->redis && i < run->follow_up_count; i++) {
        const struct job_ready *ready = &run->follow_ups[i];
        struct queue_stream stream = queue_stream_of(ready->queue, ready->priority);
        struct err e = {0};

        if (ready->is_ready && queue_push(run->redis, &stream, &ready->id, 1, &e))
            log_debug("push_failed", L_STR("pushed_job", ready->id.text), L_ERR(&e));
    }
    run->follow_up_count = 0;
}

enum err_code task_input(struct task_run *run, json_t **ret_input, struct err *e)
{
    AUTO(mem_free) char *text = NULL;
    struct err why = {0};
    enum err_code rc = flows_input(run->db, &run->id, &text, e);

    if (rc)
        return rc;
    if (!text) {
        *ret_input = json_null();
        return ERR_OK;
    }
    rc = json_read(text, strlen(text), SIZE_MAX, ret_input, &why);
    return rc ? err_set(e, rc, "what the jobs before this one gave cannot be read: %s", why.text)
              : ERR_OK;
}

bool task_is_revoked(const struct task_run *run)
{
    return run->item && atomic_load(&run->item->revoked);
}

int64_t task_time_left_us(const struct task_run *run)
{
    return task_is_revoked(run) ? 0 : run->deadline_us - clock_mono_us();
}

bool task_sleep_until(const struct task_run *run, int64_t until_us)
{
    bool in_time = until_us <= run->deadline_us;
    int64_t end_us = in_time ? until_us : run->deadline_us;
    struct timespec end = clock_timespec(end_us);

    if (run->item)
        return interrupts_sleep(run->interrupts, run->item, end_us) && in_time;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
        ;
    return in_time;
}

bool task_may_call(struct task_run *run, struct breaker *breaker)
{
    int64_t wait_us = 0;

    if (breaker_enter(breaker, clock_mono_us(), &wait_us))
        return true;
    run->retry_after_us =
        breaker_delay_us(wait_us, run->snoozes, randombytes_uniform(BREAKER_RANDOM_MAX));
    return false;
}

void task_called(struct breaker *breaker, const char *server, bool answered)
{
    switch (breaker_leave(breaker, clock_mono_us(), answered)) {
    case BREAKER_OPENED:
        log_warn("breaker_opened", L_STR("server", server));
        break;
    case BREAKER_CLOSED:
        log_info("breaker_closed", L_STR("server", server));
        break;
    case BREAKER_SAME:
        break;
    }
}

enum err_code task_check_result(const struct task_run *run, struct err *e)
{
    size_t len = run->result ? strlen(run->result) : 0;

    if (len <= TASK_RESULT_MAX)
        return ERR_OK;
    return err_set(
        e, ERR_INVALID,
        "the result has %zu bytes, at most %d are kept: store it elsewhere, return where", len,
        TASK_RESULT_MAX);
}

enum task_outcome task_outcome_of(const struct err *e)
{
    return err_is_transient(e->code) ? TASK_RETRY : TASK_FAIL;
}

void task_mark(struct task_member *member, enum task_outcome outcome, enum err_code code,
               const char *format, ...)
{
    char text[sizeof member->error->text];
    va_list args;

    if (outcome == TASK_DONE || task_is_marked(member))
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    member->outcome = outcome;
    member->error = mem_array(1, sizeof *member->error);
    (void)err_set(member->error, code, "%s", text);
    member->had_no_effect = !member->run.batch->tx.db;
}

bool task_is_marked(const struct task_member *member) { return member->outcome != TASK_DONE; }

enum err_code task_batch_begin(struct task_batch *batch, struct err *e)
{
    return batch->tx.db ? ERR_OK : db_begin(batch->db, &batch->tx, e);
}
