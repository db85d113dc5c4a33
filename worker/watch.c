/* SPDX-License-Identifier: MIT
 *
 * The duties of the main thread; see watch.h. The decisions about sizes stand in autoscale.c and
 * those about deafness in deaf.c; this file asks and acts.
 */
#include "worker/watch.h"

#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/autoscale.h"
#include "worker/control.h"
#include "worker/deaf.h"
#include "worker/interrupt.h"
#include "worker/report.h"

enum {
    LOOK_MS = 1000,
    LEAVING_LOOK_MS = 20,
    BEHIND_LOOK_MS = 50, /* while the fetch thread has not seen an order */
    STUCK_S = 60,        /* and two leases: longer than any call it makes may take */
};

struct watch {
    struct process *process;
    struct slots *slots;
    struct redis *redis;
    struct autoscale autoscale;
    struct deaf *deaf;
    char (*entries)[QUEUE_ENTRY_SIZE]; /* scratch: one for each stream */
};

struct watch *watch_new(struct process *process, struct slots *slots, struct redis *redis)
{
    struct watch *watch = mem_alloc(sizeof *watch);

    watch->process = process;
    watch->slots = slots;
    watch->redis = redis;
    watch->deaf = deaf_new(PROCESS_STREAMS_MAX);
    watch->entries = mem_array(PROCESS_STREAMS_MAX, sizeof watch->entries[0]);
    return watch;
}

static bool is_leaving(const struct process *process)
{
    return atomic_load(&process->quiet) & QUIET_TO_LEAVE;
}

int64_t watch_pause_us(const struct watch *watch)
{
    if (is_leaving(watch->process))
        return LEAVING_LOOK_MS * US_PER_MS;
    return (control_fetch_is_behind(watch->process) ? BEHIND_LOOK_MS : LOOK_MS) * US_PER_MS;
}

/* ---- the size of the pool ---- */

/* Age of the oldest entry that waits in a stream which gives something out; 0 when none does, or
 * when Redis cannot tell. */
static int64_t oldest_age_us(struct watch *watch)
{
    struct process *process = watch->process;
    int64_t now_us = 0;
    int64_t oldest_us = 0;

    if (queue_first_waiting(watch->redis, process->streams, process->stream_count, watch->entries,
                            NULL) ||
        queue_server_time(watch->redis, &now_us, NULL))
        return 0;
    for (size_t i = 0; i < process->stream_count; i++) {
        int64_t added_us = queue_entry_time_us(watch->entries[i]);

        if (added_us && !atomic_load(&process->closed[i]) &&
            (oldest_us == 0 || added_us < oldest_us))
            oldest_us = added_us;
    }
    return oldest_us ? now_us - oldest_us : 0;
}

/* It asks Redis only while all slots are busy: what waits else is read at once. */
static int autoscaled(struct watch *watch, int min, int max)
{
    struct process *process = watch->process;
    int slots = slots_wanted(watch->slots);
    int busy = pool_counts(process->pool).running;
    struct autoscale_view view = {
        .now_us = clock_mono_us(),
        .min = min,
        .max = max,
        .keep_us = process->conf->worker_autoscale_seconds * US_PER_S,
        .slots = slots,
        .busy = busy < slots ? busy : slots,
        .oldest_age_us = 0,
    };

    if (busy >= slots && slots < max && !process_is_quiet(process))
        view.oldest_age_us = oldest_age_us(watch);
    return autoscale_decide(&watch->autoscale, &view);
}

static void fit_pool(struct watch *watch)
{
    const struct process_size *size = &watch->process->size;
    int min = atomic_load(&size->min);
    int before = slots_wanted(watch->slots);
    int wanted =
        min > 0 ? autoscaled(watch, min, atomic_load(&size->max)) : atomic_load(&size->slots);

    if (wanted == before)
        return;
    log_info("pool_resized", L_INT("slots", wanted), L_INT("before", before),
             L_BOOL("autoscaled", min > 0));
    if (!slots_fit(watch->slots, wanted))
        log_error("no_threads", L_INT("wanted", wanted));
}

/* ---- being replaced ---- */

static const char *reason_to_leave(const struct process *process)
{
    const struct conf *conf = process->conf;
    int64_t jobs = pool_counts(process->pool).finished;

    if (atomic_load(&process->restart_ordered))
        return "ordered";
    if (conf->worker_max_jobs && jobs >= conf->worker_max_jobs)
        return "max_jobs";
    /* Not before it has run anything: else a limit that is too low would keep it from working. */
    if (conf->worker_max_bytes && jobs > 0 && report_resident_bytes() > conf->worker_max_bytes)
        return "max_bytes";
    return NULL;
}

/* Whether nothing is held and nothing can come any more. */
static bool is_empty(const struct process *process)
{
    struct pool_count counts = pool_counts(process->pool);

    return !control_fetch_is_behind(process) && atomic_load(&process->control_epoch) > 0 &&
           counts.claiming + counts.waiting + counts.running == 0;
}

static bool may_leave_now(struct watch *watch)
{
    struct process *process = watch->process;
    const char *reason;

    if (is_leaving(process))
        return is_empty(process);
    reason = reason_to_leave(process);
    if (!reason || !seats_may_leave(process->seats, process->seat_index))
        return false;
    log_info("leaving", L_STR("reason", reason), L_INT("rss_bytes", report_resident_bytes()));
    process_set_quiet(process, QUIET_TO_LEAVE, true);
    return false;
}

/* ---- deafness ---- */

static bool has_room(struct process *process)
{
    struct pool_count counts = pool_counts(process->pool);

    return counts.running + counts.waiting + counts.claiming < pool_slots(process->pool);
}

static void note_deafness(struct process *process, size_t stream, const char *entry)
{
    log_error("consumer_deaf", L_STR("stream", process->streams[stream].key), L_STR("entry", entry),
              L_STR("what", "it waits, and asking for it brings nothing: connecting anew"));
    atomic_fetch_add(&process->deaf, 1);
    atomic_store(&process->is_deaf, true);
    atomic_store(&process->reconnect, true);
}

static void look_for_deafness(struct watch *watch)
{
    struct process *process = watch->process;
    int64_t now_us = clock_mono_us();
    size_t stream;

    deaf_note(watch->deaf, process->asked, now_us);
    if (atomic_load(&process->is_deaf) && !deaf_is_suspect(watch->deaf)) {
        atomic_store(&process->is_deaf, false);
        log_info("consumer_hears");
    }
    if (!has_room(process) || process_is_quiet(process)) {
        deaf_forget(watch->deaf, now_us);
        return;
    }
    if (!deaf_should_ask(watch->deaf, now_us) ||
        queue_first_waiting(watch->redis, process->streams, process->stream_count, watch->entries,
                            NULL))
        return;
    for (size_t i = 0; i < process->stream_count; i++)
        if (atomic_load(&process->closed[i]))
            watch->entries[i][0] = '\0';
    if (deaf_judge(watch->deaf, process->asked, watch->entries, now_us, &stream))
        note_deafness(process, stream, watch->entries[stream]);
}

/* ---- threads that do not go on ---- */

/* The fetch thread makes no call that takes so long; the keeper is watched by the supervisor. */
static bool is_stuck(const struct process *process)
{
    const struct process_doing *doing = &process->doing[ROLE_FETCH];
    int64_t since_us = atomic_load(&doing->since_us);
    int64_t limit_us = STUCK_S * US_PER_S;
    int64_t leases_us = 2 * process->conf->lease_seconds * US_PER_S;

    if (!since_us || clock_mono_us() - since_us <= (leases_us > limit_us ? leases_us : limit_us))
        return false;
    log_error("fetch_stuck", L_STR("doing", atomic_load(&doing->what)));
    return true;
}

static bool is_disobeyed(struct process *process)
{
    struct uuid id;

    if (!interrupts_find_overdue(process->pool, clock_mono_us(), &id))
        return false;
    log_error("job_terminated", L_STR("job_id", id.text),
              L_STR("what", "it was revoked and has not ended: its process ends"));
    return true;
}

enum watch_verdict watch_look(struct watch *watch)
{
    struct process *process = watch->process;

    if (atomic_load(&process->overran))
        return WATCH_OVERRUN;
    if (atomic_load(&process->stop_ordered))
        return WATCH_STOP;
    if (is_disobeyed(process))
        return WATCH_TERMINATE;
    if (is_stuck(process))
        return WATCH_STUCK;
    if (may_leave_now(watch))
        return WATCH_LEAVE;
    fit_pool(watch);
    look_for_deafness(watch);
    if (control_fetch_is_behind(process))
        control_wake_fetch(process, watch->redis);
    return WATCH_ON;
}
