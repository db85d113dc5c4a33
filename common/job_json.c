/* SPDX-License-Identifier: MIT
 *
 * The JSON form of a job; see job_json.h. Owns nothing.
 */
#include "common/job_json.h"

#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/queue.h"
#include "common/redact.h"

static json_t *value_json(json_t *value) { return value ? json_incref(value) : json_null(); }

static json_t *text_json(const char *text) { return text ? json_string(text) : json_null(); }

json_t *job_time_json(int64_t us)
{
    char text[CLOCK_TEXT_SIZE];

    if (!us)
        return json_null();
    clock_format(us, text);
    return json_string(text);
}

bool job_runtime(const struct job_view *job, double *ret_seconds)
{
    if (!job->started_us || job->finished_us < job->started_us)
        return false;
    *ret_seconds = (double)(job->finished_us - job->started_us) / (double)US_PER_S;
    return true;
}

/* Of one whose visible side is known. */
static json_t *job_json_of(const struct job_view *job, const struct job_shown *shown)
{
    double runtime = 0;
    bool has_runtime = job_runtime(job, &runtime);

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:s?,"
        " s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s?, s:o}",
        "id", job->id.text, "task", job->task, "queue", job->queue, "priority",
        queue_priority_name(job->priority), "state", job_state_name(job->state), "attempt",
        job->attempt, "max_attempts", job->max_attempts, "args", value_json(shown->args), "kwargs",
        value_json(shown->kwargs), "result", value_json(shown->result), "error",
        text_json(shown->error), "args_bytes", (json_int_t)job->args_bytes, "kwargs_bytes",
        (json_int_t)job->kwargs_bytes, "result_bytes", (json_int_t)job->result_bytes, "worker",
        job->worker, "created_at", job_time_json(job->created_us), "scheduled_at",
        job_time_json(job->scheduled_us), "enqueued_at", job_time_json(job->enqueued_us),
        "started_at", job_time_json(job->started_us), "finished_at",
        job_time_json(job->finished_us), "failed_at", job_time_json(job->failed_us), "changed_at",
        job_time_json(job->changed_us), "runtime", has_runtime ? json_real(runtime) : json_null(),
        "held_by", job->held_by, "limit_key", job_shown_text(shown, job->limit_key));
}

json_t *job_json(const struct job_view *job)
{
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};

    job_shown_make(job, &shown);
    return job_json_of(job, &shown);
}

static json_t *failure_json(const struct job_shown *shown, const struct job_failure *failure)
{
    return json_pack(
        "{s:i, s:s, s:s?, s:o, s:o, s:o, s:o}", "attempt", failure->attempt, "outcome", "failed",
        "worker", failure->worker, "started_at", job_time_json(failure->started_us), "ended_at",
        job_time_json(failure->failed_us), "error", job_shown_text(shown, failure->error), "detail",
        job_shown_text(shown, failure->detail));
}

/* What the row itself says of its last attempt, unless that stands among the failures. */
static json_t *last_attempt_json(const struct job_detail *detail)
{
    const struct job_view *job = &detail->job;
    const char *outcome = job->state == JOB_STARTED   ? "running"
                          : job->state == JOB_SUCCESS ? "succeeded"
                          : job->state == JOB_REVOKED ? "revoked"
                                                      : NULL;

    if (!outcome || job->attempt == 0)
        return NULL;
    if (job->state == JOB_REVOKED && detail->failure_count > 0 &&
        detail->failures[detail->failure_count - 1].attempt == job->attempt)
        return NULL;
    return json_pack("{s:i, s:s, s:s?, s:o, s:o, s:n, s:n}", "attempt", job->attempt, "outcome",
                     outcome, "worker", job->worker, "started_at", job_time_json(job->started_us),
                     "ended_at", job_time_json(job->finished_us), "error", "detail");
}

static json_t *options_json(const struct job_shown *shown, const struct job_view *job)
{
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:s?, s:o, s:b, s:o}", "expires_at",
        job_time_json(job->expires_us), "unique_key", job_shown_text(shown, job->unique_key),
        "unique_until", job_time_json(job->unique_until_us), "headers",
        job_shown_value(shown, job->headers), "traceparent", text_json(job->traceparent),
        "retention", job->retention_s ? json_integer(job->retention_s) : json_null(), "flow",
        job->flow, "flow_step", job->flow ? json_integer((json_int_t)job->flow_step) : json_null(),
        "waits", job->waits, "parked_on", job_shown_parked(shown, job->parked_on));
}

static json_t *progress_json(const struct job_shown *shown,
                             const struct job_progress_view *progress)
{
    if (!progress->text)
        return json_null();
    return json_pack("{s:I, s:o, s:o, s:o}", "done", (json_int_t)progress->done, "total",
                     progress->total ? json_integer((json_int_t)progress->total) : json_null(),
                     "text", job_shown_text(shown, progress->text), "updated_at",
                     job_time_json(progress->updated_us));
}

json_t *job_detail_json(const struct job_detail *detail)
{
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
    AUTO(json_decref) json_t *out = NULL;
    json_t *attempts = json_array();
    json_t *last = last_attempt_json(detail);

    job_shown_make(&detail->job, &shown);
    out = job_json_of(&detail->job, &shown);
    for (size_t i = 0; i < detail->failure_count; i++)
        (void)json_array_append_new(attempts, failure_json(&shown, &detail->failures[i]));
    if (last)
        (void)json_array_append_new(attempts, last);
    if (json_object_set_new(out, "attempts", attempts) < 0 ||
        json_object_set_new(out, "snoozes", json_integer(detail->snoozes)) < 0 ||
        json_object_set_new(out, "progress", progress_json(&shown, &detail->progress)) < 0 ||
        json_object_set_new(out, "checkpoint", job_shown_value(&shown, detail->checkpoint)) < 0 ||
        json_object_set_new(out, "delivery",
                            detail->job.delivery ? json_string(detail->job.delivery)
                                                 : json_null()) < 0 ||
        json_object_set_new(out, "payload", job_shown_text(&shown, detail->job.payload)) < 0 ||
        json_object_update_new(out, options_json(&shown, &detail->job)) < 0)
        return NULL;
    return TAKE(out);
}
