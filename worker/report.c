/* SPDX-License-Identifier: MIT
 *
 * The heartbeat's JSON and the answer to SIGUSR1; see report.h.
 */
#include "worker/report.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/program.h"
#include "worker/tasks.h"

/* ---- the last error ---- */

struct last_error {
    pthread_mutex_t lock;
    int64_t at_us; /* wall; 0: none yet */
    struct uuid id;
    int attempt;
    char task[JOB_NAME_MAX + 1];
    struct err why;
};

struct last_error *last_error_new(void)
{
    struct last_error *last = mem_alloc(sizeof *last);

    pthread_mutex_init(&last->lock, NULL);
    return last;
}

static const char *task_name(const struct item *item)
{
    if (item->delivery.kind == DELIVERY_DURABLE)
        return item->job.task;
    return item->delivery.task ? item->delivery.task : "";
}

static const char *job_id(const struct item *item)
{
    return item->delivery.kind == DELIVERY_DURABLE ? item->job.id.text : item->delivery.id.text;
}

void report_note_error(struct process *process, const struct item *item, int attempt,
                       const struct err *why)
{
    struct last_error *last = process->last_error;

    if (!last)
        return;
    pthread_mutex_lock(&last->lock);
    last->at_us = clock_wall_us();
    (void)snprintf(last->id.text, sizeof last->id.text, "%s", job_id(item));
    (void)snprintf(last->task, sizeof last->task, "%s", task_name(item));
    last->attempt = attempt;
    last->why = *why;
    pthread_mutex_unlock(&last->lock);
}

/* ---- small members ---- */

int64_t report_resident_bytes(void)
{
    FILE *statm = fopen("/proc/self/statm", "re");
    char line[128] = "";
    long long pages = 0;

    if (!statm)
        return 0;
    if (fgets(line, sizeof line, statm)) {
        const char *resident = strchr(line, ' '); /* the second of its numbers */

        for (const char *p = resident ? resident + 1 : ""; *p >= '0' && *p <= '9'; p++)
            pages = pages * 10 + (*p - '0');
    }
    (void)fclose(statm);
    return pages * sysconf(_SC_PAGESIZE);
}

static void add_time(struct buf *report, const char *key, int64_t wall_us)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(wall_us, text);
    buf_addf(report, ",\"%s\":\"%s\"", key, text);
}

static void add_comma(struct buf *report)
{
    char last = report->len > 0 ? report->data[report->len - 1] : '\0';

    if (last != '[' && last != '{')
        buf_add_char(report, ',');
}

/* ---- jobs ---- */

static bool add_job(struct item *item, void *context)
{
    struct buf *report = context;
    bool durable = item->delivery.kind == DELIVERY_DURABLE;

    add_comma(report);
    buf_addf(report, "{\"id\":\"%s\",\"task\":", job_id(item));
    buf_add_json(report, task_name(item));
    buf_addf(report, ",\"attempt\":%d", durable ? item->job.attempt : 1);
    add_time(report, "started_at", item->started_wall_us);
    if (atomic_load(&item->revoked))
        buf_add_str(report, ",\"revoked\":true");
    buf_add_char(report, '}');
    return false;
}

/* Ids of what is held and does not run yet: the scheduler must not take them for orphans. */
static bool add_held(struct item *item, void *context)
{
    struct buf *report = context;

    add_comma(report);
    buf_addf(report, "\"%s\"", item->delivery.id.text);
    return false;
}

static void add_jobs(struct buf *report, struct pool *pool)
{
    buf_add_str(report, ",\"jobs\":[");
    pool_visit(pool, ITEM_RUNNING, add_job, report);
    buf_add_str(report, "],\"held\":[");
    pool_visit(pool, ITEM_CLAIMING, add_held, report);
    pool_visit(pool, ITEM_WAITING, add_held, report);
    buf_add_char(report, ']');
}

/* ---- queues and tasks ---- */

static bool is_first_of_queue(const struct process *process, size_t stream)
{
    for (size_t i = 0; i < stream; i++)
        if (strcmp(process->streams[i].queue, process->streams[stream].queue) == 0)
            return false;
    return true;
}

static void add_queues(struct buf *report, const struct process *process)
{
    buf_add_str(report, ",\"queues\":[");
    for (size_t i = 0; i < atomic_load(&process->stream_count); i++) {
        if (!is_first_of_queue(process, i) || atomic_load(&process->ignored[i]))
            continue;
        add_comma(report);
        buf_add_json(report, process->streams[i].queue);
    }
    buf_add_str(report, "],\"processed_by_queue\":{");
    for (size_t i = 0; i < atomic_load(&process->stream_count); i++) {
        uint64_t processed = 0;

        if (!is_first_of_queue(process, i))
            continue;
        for (size_t n = i; n < atomic_load(&process->stream_count); n++)
            if (strcmp(process->streams[n].queue, process->streams[i].queue) == 0)
                processed += meters_of_stream(process->meters, n);
        add_comma(report);
        buf_add_json(report, process->streams[i].queue);
        buf_addf(report, ":%" PRIu64, processed);
    }
    buf_add_char(report, '}');
}

static void add_task(struct buf *report, const char *name, const struct meter_task *task)
{
    uint64_t all =
        task->ends[METER_SUCCEEDED] + task->ends[METER_FAILED] + task->ends[METER_RETRIED];

    if (all == 0)
        return;
    add_comma(report);
    buf_add_json(report, name);
    buf_addf(report,
             ":{\"succeeded\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"retried\":%" PRIu64
             ",\"runtime_sum_us\":%" PRIu64 ",\"runtime_buckets\":[",
             task->ends[METER_SUCCEEDED], task->ends[METER_FAILED], task->ends[METER_RETRIED],
             task->sum_us);
    for (int i = 0; i < METER_BUCKETS; i++)
        buf_addf(report, "%s%" PRIu64, i ? "," : "", task->buckets[i]);
    buf_add_str(report, "]}");
}

/* Tasks that this build does not know stand together under "". */
static void add_tasks(struct buf *report, const struct process *process)
{
    buf_add_str(report, ",\"runtime_bounds_us\":[");
    for (int i = 0; i < METER_BUCKETS - 1; i++)
        buf_addf(report, "%s%" PRId64, i ? "," : "", METER_BOUNDS_US[i]);
    buf_add_str(report, "],\"tasks\":{");
    for (size_t i = 0; i <= tasks_count; i++) {
        struct meter_task task = meters_of_task(process->meters, i);

        add_task(report, i < tasks_count ? tasks[i]->name : "", &task);
    }
    buf_add_char(report, '}');
}

/* ---- how it is ---- */

static const char *state_name(const struct process *process)
{
    if (process_is_stopping(process))
        return "stopping";
    if (atomic_load(&process->quiet) & QUIET_TO_LEAVE)
        return "restarting";
    return process_is_quiet(process) ? "quiet" : "running";
}

static const char *health_name(enum process_health health)
{
    static const char *const names[] = {[HEALTH_OK] = "ok",
                                        [HEALTH_NO_DATABASE] = "no database",
                                        [HEALTH_NO_REDIS] = "no redis",
                                        [HEALTH_DEAF] = "deaf"};

    return names[health];
}

static void add_last_error(struct buf *report, struct last_error *last)
{
    pthread_mutex_lock(&last->lock);
    if (last->at_us) {
        char at[CLOCK_TEXT_SIZE];

        clock_format(last->at_us, at);
        buf_addf(report,
                 ",\"last_error\":{\"at\":\"%s\",\"id\":\"%s\",\"attempt\":%d,\"task\":", at,
                 last->id.text, last->attempt);
        buf_add_json(report, last->task);
        buf_add_str(report, ",\"error\":");
        buf_add_json(report, last->why.text);
        buf_add_char(report, '}');
    } else {
        buf_add_str(report, ",\"last_error\":null");
    }
    pthread_mutex_unlock(&last->lock);
}

static void add_size(struct buf *report, const struct process *process)
{
    int min = atomic_load(&process->size.min);
    int max = atomic_load(&process->size.max);

    buf_addf(report, ",\"concurrency\":%d,\"busy\":%d", pool_slots(process->pool),
             pool_counts(process->pool).running);
    if (min > 0)
        buf_addf(report, ",\"autoscale\":[%d,%d]", min, max);
    else
        buf_add_str(report, ",\"autoscale\":null");
}

static double seconds_of(const struct timeval *time)
{
    return (double)time->tv_sec + (double)time->tv_usec / (double)US_PER_S;
}

/* What the process has used since it began, by the names of getrusage(). */
static void add_rusage(struct buf *report)
{
    struct rusage used;

    if (getrusage(RUSAGE_SELF, &used) < 0)
        return;
    buf_addf(report,
             ",\"rusage\":{\"utime\":%.6f,\"stime\":%.6f,\"maxrss\":%ld,\"minflt\":%ld,"
             "\"majflt\":%ld,\"inblock\":%ld,\"oublock\":%ld,\"nvcsw\":%ld,\"nivcsw\":%ld}",
             seconds_of(&used.ru_utime), seconds_of(&used.ru_stime), used.ru_maxrss, used.ru_minflt,
             used.ru_majflt, used.ru_inblock, used.ru_oublock, used.ru_nvcsw, used.ru_nivcsw);
}

static void add_load(struct buf *report)
{
    double loads[3] = {0, 0, 0};

    if (getloadavg(loads, 3) == 3)
        buf_addf(report, ",\"loadavg\":[%.2f,%.2f,%.2f]", loads[0], loads[1], loads[2]);
}

void report_write(struct process *process, struct buf *report)
{
    uint64_t succeeded = meters_total(process->meters, METER_SUCCEEDED);
    uint64_t failed = meters_total(process->meters, METER_FAILED);
    uint64_t retried = meters_total(process->meters, METER_RETRIED);

    buf_add_str(report, "{\"name\":");
    buf_add_json(report, process->name);
    buf_add_str(report, ",\"host\":");
    buf_add_json(report, process->host);
    buf_addf(report,
             ",\"pid\":%d,\"supervisor\":%d,\"version\":\"%s\",\"state\":\"%s\",\"health\":\"%s\"",
             (int)getpid(), (int)getppid(), TILL_VERSION, state_name(process),
             health_name(process_health(process)));
    add_time(report, "started_at", process->started_us);
    add_time(report, "beat_at", clock_wall_us());
    add_queues(report, process);
    add_size(report, process);
    buf_addf(report,
             ",\"processed\":%" PRIu64 ",\"succeeded\":%" PRIu64 ",\"failed\":%" PRIu64
             ",\"retried\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"taken_over\":%" PRIu64
             ",\"deaf\":%" PRIu64 ",\"lag_us\":%" PRId64 ",\"rss_bytes\":%" PRId64,
             succeeded + failed + retried, succeeded, failed, retried,
             (uint64_t)atomic_load(&process->dropped), (uint64_t)atomic_load(&process->taken_over),
             (uint64_t)atomic_load(&process->deaf), (int64_t)atomic_exchange(&process->lag_us, 0),
             report_resident_bytes());
    add_load(report);
    add_rusage(report);
    buf_add_str(report, ",\"settings\":");
    conf_add_json(process->conf, PROGRAM_WORKER, report);
    add_last_error(report, process->last_error);
    add_tasks(report, process);
    add_jobs(report, process->pool);
    buf_add_char(report, '}');
}

/* ---- SIGUSR1 ---- */

static bool log_item(struct item *item, void *context)
{
    int64_t now_us = *(const int64_t *)context;
    int64_t begun_us = atomic_load(&item->begun_us);

    if (begun_us)
        log_info("thread", L_STR("thread", "slot"), L_INT("slot", atomic_load(&item->slot)),
                 L_STR("doing", atomic_load(&item->revoked) ? "runs a revoked job" : "runs"),
                 L_STR("job_id", job_id(item)), L_STR("task", task_name(item)),
                 L_INT("attempt", item->delivery.kind == DELIVERY_DURABLE ? item->job.attempt : 1),
                 L_INT("for_ms", (now_us - begun_us) / US_PER_MS));
    return false;
}

static void log_roles(const struct process *process, int64_t now_us)
{
    static const char *const names[ROLE_COUNT] = {
        [ROLE_FETCH] = "fetch", [ROLE_KEEPER] = "keeper", [ROLE_CONTROL] = "control"};

    for (int role = 0; role < ROLE_COUNT; role++) {
        const struct process_doing *doing = &process->doing[role];
        const char *what = atomic_load(&doing->what);

        log_info("thread", L_STR("thread", names[role]), L_STR("doing", what ? what : "begins"),
                 L_INT("for_ms", (now_us - atomic_load(&doing->since_us)) / US_PER_MS));
    }
}

void report_log(struct process *process)
{
    struct pool_count counts = pool_counts(process->pool);
    int64_t now_us = clock_mono_us();

    log_info("report", L_STR("state", state_name(process)),
             L_STR("health", health_name(process_health(process))),
             L_INT("slots", pool_slots(process->pool)), L_INT("running", counts.running),
             L_INT("waiting", counts.waiting), L_INT("claiming", counts.claiming),
             L_INT("unacknowledged", counts.done),
             L_INT("succeeded", meters_total(process->meters, METER_SUCCEEDED)),
             L_INT("failed", meters_total(process->meters, METER_FAILED)),
             L_INT("retried", meters_total(process->meters, METER_RETRIED)),
             L_INT("log_lines_dropped", log_dropped()));
    log_roles(process, now_us);
    pool_visit(process->pool, ITEM_RUNNING, log_item, &now_us);
}
