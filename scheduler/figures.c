/* SPDX-License-Identifier: MIT
 *
 * Taking the figures of each minute; see figures.h. Redis away: nothing is counted, and what the
 * workers count meanwhile is added when it is back.
 */
#include "scheduler/figures.h"

#include <string.h>

#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/job_minutes.h"
#include "common/jobs_figures.h"
#include "common/json.h"
#include "common/queue.h"

enum { LOOK_S = 10, REPORT_MAX = 1024 * 1024 };

static int64_t member(const json_t *report, const char *name)
{
    return json_integer_value(json_object_get(report, name));
}

static enum err_code count_worker(struct scheduler *s, const struct queue_worker *worker,
                                  struct err *e)
{
    AUTO(json_decref) json_t *report = NULL;
    struct worker_counts counts = {.name = worker->name};
    int64_t started_us;
    enum err_code rc;

    if (!worker->report ||
        json_read(worker->report, strlen(worker->report), REPORT_MAX, &report, NULL))
        return ERR_OK;
    counts.started_at = json_member_text(report, "started_at");
    counts.succeeded = member(report, "succeeded");
    counts.failed = member(report, "failed");
    counts.retried = member(report, "retried");
    /* Anybody may have written there: what is no report counts for nothing. */
    if (!counts.started_at || !clock_parse(counts.started_at, &started_us) ||
        counts.succeeded < 0 || counts.failed < 0 || counts.retried < 0)
        return ERR_OK;
    rc = job_minutes_count(s->db, &counts, e);
    return rc ? rc
              : job_minutes_count_queues(s->db, &counts,
                                         json_object_get(report, "processed_by_queue"), e);
}

static enum err_code close_minute(struct scheduler *s, struct err *e)
{
    AUTO_VALUE(jobs_queues_release) struct jobs_queues queues = {0};
    enum err_code rc = jobs_list_queues(s->db, &queues, e);

    return rc ? rc : job_minutes_close(s->db, &queues, e);
}

enum err_code figures_take(struct scheduler *s, struct err *e)
{
    AUTO_VALUE(queue_workers_release) struct queue_workers workers = {0};
    int64_t now_us = clock_mono_us();
    int64_t minute = clock_wall_us() / (60 * US_PER_S);
    enum err_code rc = ERR_OK;

    if (now_us < s->figures_at_us && minute == s->figures_minute)
        return ERR_OK;
    s->figures_at_us = now_us + LOOK_S * US_PER_S;
    if (queue_list_workers(s->redis, &workers, NULL) == ERR_OK)
        for (size_t i = 0; i < workers.count && !rc; i++)
            rc = count_worker(s, &workers.items[i], e);
    CRASH_POINT("figures.counted");
    if (!rc && minute != s->figures_minute)
        rc = close_minute(s, e);
    if (!rc)
        s->figures_minute = minute;
    return rc;
}
