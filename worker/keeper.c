/* SPDX-License-Identifier: MIT
 *
 * Acknowledging, renewing, heartbeats; see keeper.h. Owns one Redis connection. It sleeps until
 * something is settled or a duty is due.
 *
 * Leases: everything held is renewed at a third of the lease. Whoever finds that more than a lease
 * has passed since the last time (stopped, starved, cut off) renews nothing of it any more: others
 * may have it by now, and a late XCLAIM would steal it back.
 */
#include "worker/keeper.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/program.h"
#include "common/queue_limit.h"

enum {
    ACK_BATCH = 256,
    HELD_MAX = 2048,
    REDIS_TIMEOUT_MS = 3000,
    HEARTBEAT_MS = 2000,
    PAUSE_MS = 100,
    LAST_ROUNDS = 10,
    REPORT_MAX = 64 * 1024,
};

struct keeper {
    struct process *process;
    struct redis *redis;
    int64_t lease_us;
    int64_t renewed_us; /* monotonic: last successful renewal */
    int64_t beat_at_us; /* monotonic: next heartbeat */
    bool healthy;
};

static void note_health(struct keeper *keeper, enum err_code rc, const struct err *e)
{
    if (rc && keeper->healthy)
        log_warn("keeper_interrupted", L_ERR(e));
    else if (!rc && !keeper->healthy)
        log_info("keeper_resumed");
    keeper->healthy = !rc;
}

/* ---- acknowledgements ---- */

/* Who waits for a place in a queue with a concurrency is told that some were given back. */
static enum err_code tell_places(struct keeper *keeper, const struct queue_entry *entries,
                                 size_t count, struct err *e)
{
    const struct process *process = keeper->process;
    const struct queue_stream *streams[QUEUE_LIST_MAX];
    size_t told = 0;

    for (size_t q = 0; q < process->queues.count; q++) {
        struct limit limit = {0};
        bool any = false;

        for (size_t i = 0; i < count && !any; i++)
            any = entries[i].stream / JOB_PRIORITY_COUNT == q;
        if (any && limit_board_queue(process->limits, process->queues.items[q].name, &limit) &&
            limit.concurrency)
            streams[told++] = &process->streams[q * JOB_PRIORITY_COUNT];
    }
    return queue_tell_place(keeper->redis, streams, told, e);
}

static enum err_code acknowledge(struct keeper *keeper, struct err *e)
{
    struct queue_entry entries[ACK_BATCH];
    struct process *process = keeper->process;

    for (;;) {
        size_t count = pool_list_done(process->pool, entries, ACK_BATCH);
        enum err_code rc;

        if (count == 0)
            return ERR_OK;
        rc = queue_ack(keeper->redis, process->streams, entries, count, e);
        if (rc)
            return rc;
        pool_forget_done(process->pool, count);
        rc = tell_places(keeper, entries, count, e);
        if (rc)
            return rc;
    }
}

/* ---- leases ---- */

static enum err_code renew(struct keeper *keeper, struct err *e)
{
    AUTO(mem_free) struct queue_entry *entries = mem_array(HELD_MAX, sizeof *entries);
    struct process *process = keeper->process;
    int64_t now_us = clock_mono_us();
    struct err own = {0};
    enum err_code rc;
    size_t count;

    if (now_us - keeper->renewed_us > keeper->lease_us)
        pool_mark_lost(process->pool);
    count = pool_list_held(process->pool, entries, HELD_MAX);
    rc = queue_renew(keeper->redis, process->streams, process->name, entries, count, &own);
    /* Without a group there is nothing to hold: the data is gone, and fetching makes it anew. */
    if (rc && strcmp(redis_error_word(keeper->redis), "NOGROUP") != 0)
        return err_set_detail(e, rc, own.detail, "%s", own.text);
    keeper->renewed_us = now_us;
    return ERR_OK;
}

/* ---- heartbeat ---- */

static int64_t resident_bytes(void)
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

static bool add_job(struct item *item, void *context)
{
    struct buf *report = context;
    bool durable = item->delivery.kind == DELIVERY_DURABLE;

    buf_addf(report, "%s{\"id\":\"%s\",\"task\":", report->data[report->len - 1] == '[' ? "" : ",",
             durable ? item->job.id.text : item->delivery.id.text);
    buf_add_json(report, durable ? item->job.task : item->delivery.task ? item->delivery.task : "");
    add_time(report, "started_at", item->started_wall_us);
    buf_add_char(report, '}');
    return false;
}

/* Ids of what is held and does not run yet: the scheduler must not take them for orphans. */
static bool add_held(struct item *item, void *context)
{
    struct buf *report = context;

    buf_addf(report, "%s\"%s\"", report->data[report->len - 1] == '[' ? "" : ",",
             item->delivery.id.text);
    return false;
}

static void add_queues(struct buf *report, const struct process *process)
{
    buf_add_str(report, ",\"queues\":[");
    for (size_t i = 0; i < process->stream_count; i++) {
        if (process->streams[i].priority != JOB_PRIORITY_HIGH)
            continue;
        if (report->data[report->len - 1] != '[')
            buf_add_char(report, ',');
        buf_add_json(report, process->streams[i].queue);
    }
    buf_add_char(report, ']');
}

static void write_report(const struct process *process, struct buf *report)
{
    static const char *const phases[] = {"running", "quiet", "stopping"};
    uint64_t succeeded = atomic_load(&process->succeeded);
    uint64_t failed = atomic_load(&process->failed);
    uint64_t retried = atomic_load(&process->retried);

    buf_add_str(report, "{\"name\":");
    buf_add_json(report, process->name);
    buf_add_str(report, ",\"host\":");
    buf_add_json(report, process->host);
    buf_addf(report, ",\"pid\":%d,\"version\":\"%s\",\"state\":\"%s\"", (int)getpid(), TILL_VERSION,
             phases[process_phase(process)]);
    add_time(report, "started_at", process->started_us);
    add_time(report, "beat_at", clock_wall_us());
    add_queues(report, process);
    buf_addf(report,
             ",\"concurrency\":%" PRId64 ",\"busy\":%d,\"processed\":%" PRIu64
             ",\"succeeded\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"retried\":%" PRIu64
             ",\"dropped\":%" PRIu64 ",\"taken_over\":%" PRIu64 ",\"rss_bytes\":%" PRId64,
             process->conf->worker_concurrency, pool_counts(process->pool).running,
             succeeded + failed + retried, succeeded, failed, retried,
             (uint64_t)atomic_load(&process->dropped), (uint64_t)atomic_load(&process->taken_over),
             resident_bytes());
    buf_add_str(report, ",\"jobs\":[");
    pool_visit(process->pool, ITEM_RUNNING, add_job, report);
    buf_add_str(report, "],\"held\":[");
    pool_visit(process->pool, ITEM_CLAIMING, add_held, report);
    pool_visit(process->pool, ITEM_WAITING, add_held, report);
    buf_add_str(report, "]}");
}

static enum err_code beat(struct keeper *keeper, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf report;
    struct process *process = keeper->process;

    buf_init(&report, REPORT_MAX);
    write_report(process, &report);
    return queue_worker_heartbeat(keeper->redis, process->name, process->token,
                                  keeper->lease_us / US_PER_MS,
                                  report.overflow ? "{}" : report.data, e);
}

/* ---- hard limits ---- */

/* A handler cannot be ended, its process can: what it held comes back with its attempt counted. */
static void end_overrun(struct keeper *keeper)
{
    char task[JOB_NAME_MAX + 1];
    struct uuid id;

    if (!pool_find_overrun(keeper->process->pool, clock_mono_us(), &id, task, sizeof task))
        return;
    log_error("job_overran_hard_limit", L_STR("job_id", id.text), L_STR("task", task));
    _exit(EXIT_OVERRUN);
}

/* ---- the loop ---- */

static enum err_code do_duties(struct keeper *keeper, struct err *e)
{
    enum err_code rc = acknowledge(keeper, e);

    if (!rc && clock_mono_us() - keeper->renewed_us >= keeper->lease_us / 3)
        rc = renew(keeper, e);
    if (!rc && clock_mono_us() >= keeper->beat_at_us) {
        int64_t pause_us = HEARTBEAT_MS * US_PER_MS;

        rc = beat(keeper, e);
        keeper->beat_at_us =
            clock_mono_us() + (pause_us < keeper->lease_us / 3 ? pause_us : keeper->lease_us / 3);
    }
    if (rc == ERR_CONFLICT)
        atomic_store(&keeper->process->name_lost, true);
    return rc;
}

static void pause_briefly(void)
{
    const struct timespec pause = clock_timespec(PAUSE_MS * US_PER_MS);

    (void)nanosleep(&pause, NULL);
}

static void finish(struct keeper *keeper)
{
    struct process *process = keeper->process;

    for (int i = 0; i < LAST_ROUNDS; i++) {
        struct err e = {0};
        enum err_code rc = acknowledge(keeper, &e);

        if (!rc)
            rc = queue_worker_leave(keeper->redis, process->name, process->token, &e);
        if (!rc || rc == ERR_CONFLICT) /* the name is another's already */
            return;
        pause_briefly();
    }
    log_warn("acknowledgements_left", L_INT("count", pool_counts(process->pool).done));
}

void *keeper_main(void *context)
{
    struct process *process = context;
    struct keeper keeper = {.process = process,
                            .lease_us = process->conf->lease_seconds * US_PER_S,
                            .renewed_us = clock_mono_us(),
                            .healthy = true};

    log_context_set("worker", process->name);
    keeper.redis = redis_open(process->conf->redis_url, process->name, REDIS_TIMEOUT_MS);
    while (!atomic_load(&process->keeper_ends)) {
        struct err e = {0};
        int64_t renew_in_us = keeper.renewed_us + keeper.lease_us / 3 - clock_mono_us();
        int64_t beat_in_us = keeper.beat_at_us - clock_mono_us();
        enum err_code rc;

        pool_wait_done(process->pool, renew_in_us < beat_in_us ? renew_in_us : beat_in_us);
        rc = do_duties(&keeper, &e);
        note_health(&keeper, rc, &e);
        end_overrun(&keeper);
        if (rc)
            pause_briefly();
    }
    finish(&keeper);
    redis_close(keeper.redis);
    return NULL;
}
