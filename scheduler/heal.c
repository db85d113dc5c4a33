/* SPDX-License-Identifier: MIT
 *
 * Healing; see heal.h. There is no bookkeeping a job: what must be in a stream is known from the
 * table, and what is in it from its oldest waiting entry. Doubles that this may add die at the
 * claim.
 *
 * Lost: streams are read in order, so a row that was meant for its stream before the oldest waiting
 * entry came has been read, or is not there any more (Redis lost it, or the program died between
 * commit and XADD). A margin covers the moment between reading and claiming, and the clocks of
 * Redis and PostgreSQL are compared first.
 *
 * Orphans: a STARTED row comes back by its stream entry when its worker dies. Where the entry is
 * gone, too (Redis was emptied), the row is found here: its worker has been silent for a lease, or
 * lives and does not hold it. A row that came by a place passed on never had an entry: it is taken
 * back a moment after its worker's name has expired, and so within the lease, too.
 */
#include "scheduler/heal.h"

#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/flows.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/log.h"

enum { HEAL_BATCH = 1000, HELD_MAX = 256 * 1024, LINES_SECONDS = 300, CANCELS_SECONDS = 30 };

/* After a batch that was full there may be more: now, or in the next round, which then comes at
 * once. `total`: of this round; the first batch has its time. */
static bool goes_on(struct scheduler *s, int64_t found, int64_t total)
{
    if (found < HEAL_BATCH)
        return false;
    if (total == 0 || scheduler_has_time(s))
        return true;
    s->more_to_heal = true;
    return false;
}

/* ---- lost entries ---- */

static enum err_code read_skew(struct scheduler *s, int64_t *ret_skew_us, struct err *e)
{
    int64_t redis_us;
    int64_t db_us;
    enum err_code rc = jobs_server_time(s->db, &db_us, e);

    if (!rc)
        rc = queue_server_time(s->redis, &redis_us, e);
    if (!rc)
        *ret_skew_us = redis_us - db_us;
    return rc;
}

/* Where the ids of entries are of a time to come (Redis' clock was ahead, or a hand has chosen one,
 * and all later ids go on from there), they do not tell when an entry came. As long as the stream
 * has an entry for each row, no row is taken for lost: it would be added again and again. */
static enum err_code cut_by_count(struct scheduler *s, const struct job_ready *where,
                                  const struct queue_depth *depth, int64_t now_us,
                                  int64_t *ret_cut_us, struct err *e)
{
    int64_t entries = depth->waiting + depth->pending;
    int64_t rows = 0;
    enum err_code rc =
        jobs_count_meant(s->db, where->queue, where->priority, entries + 1, &rows, e);

    if (!rc)
        *ret_cut_us = rows > entries ? now_us : 0;
    return rc;
}

/* Everything meant for the stream before this (PostgreSQL's time) is not waiting in it. */
static enum err_code read_cut(struct scheduler *s, const struct job_ready *where,
                              const struct queue_stream *stream, int64_t *ret_cut_us, struct err *e)
{
    int64_t margin_us = s->conf->heal_seconds * US_PER_S;
    struct queue_depth depth;
    int64_t skew_us = 0;
    int64_t now_us = 0;
    enum err_code rc = read_skew(s, &skew_us, e);

    if (!rc)
        rc = queue_server_time(s->redis, &now_us, e);
    if (!rc)
        rc = queue_measure(s->redis, stream, &depth, e);
    if (rc)
        return rc;
    *ret_cut_us = depth.oldest_us ? depth.oldest_us : now_us;
    if (depth.oldest_us > now_us + margin_us)
        rc = cut_by_count(s, where, &depth, now_us, ret_cut_us, e);
    *ret_cut_us -= skew_us + margin_us;
    return rc;
}

static enum err_code heal_stream(struct scheduler *s, const struct job_ready *where, struct err *e)
{
    struct queue_stream stream = queue_stream_of(where->queue, where->priority);
    int64_t cut_us = 0;
    size_t found = HEAL_BATCH;
    int64_t total = 0;
    enum err_code rc = read_cut(s, where, &stream, &cut_us, e);

    while (!rc && goes_on(s, (int64_t)found, total)) {
        AUTO_VALUE(job_list_release) struct job_list jobs = {0};

        rc = jobs_take_lost(s->db, where->queue, where->priority, cut_us, HEAL_BATCH, &jobs, e);
        found = jobs.count;
        if (rc || found == 0)
            break;
        CRASH_POINT("heal.marked");
        rc = job_list_push(&jobs, s->redis, e);
        total += rc ? 0 : (int64_t)found;
    }
    if (total > 0) {
        CRASH_POINT("heal.pushed");
        log_warn("jobs_healed", L_STR("stream", stream.key), L_INT("count", total));
    }
    return rc;
}

static enum err_code heal_lost(struct scheduler *s, struct err *e)
{
    AUTO_VALUE(job_list_release) struct job_list streams = {0};
    enum err_code rc = jobs_list_waiting_streams(s->db, &streams, e);

    for (size_t i = 0; !rc && i < streams.count; i++) {
        struct err own = {0};

        rc = heal_stream(s, &streams.items[i], &own);
        if (rc == ERR_PROTOCOL) { /* it takes nothing more: no reason to leave the others alone */
            log_warn("stream_refuses", L_STR("queue", streams.items[i].queue),
                     L_STR("advice", "rename its key, or delete it once it is empty"), L_ERR(&own));
            rc = ERR_OK;
        }
        if (rc)
            return err_set_detail(e, rc, own.detail, "%s", own.text);
    }
    return rc;
}

/* ---- orphans ---- */

static const struct queue_worker *find_worker(const struct queue_workers *workers, const char *name)
{
    for (size_t i = 0; i < workers->count; i++)
        if (strcmp(workers->items[i].name, name) == 0)
            return &workers->items[i];
    return NULL;
}

/* How long a worker has been missing, by our own watch: its key may have expired while Redis was
 * away, and a worker that lives then comes back within seconds. */
static int64_t missing_for(struct missing *missing, const char *name)
{
    int64_t now_us = clock_mono_us();

    for (int i = 0; i < missing->count; i++)
        if (strcmp(missing->workers[i].name, name) == 0)
            return now_us - missing->workers[i].since_us;
    if ((size_t)missing->count < COUNT_OF(missing->workers)) {
        (void)snprintf(missing->workers[missing->count].name, sizeof missing->workers[0].name, "%s",
                       name);
        missing->workers[missing->count++].since_us = now_us;
    }
    return 0;
}

/* How long a worker may be missing before it counts as dead: after an outage of Redis its name has
 * expired, and it tells that it lives within this time. Together with the life of a name
 * (worker/process.h) and two rounds of healing this is less than a lease. */
static int64_t expired_us(const struct scheduler *s)
{
    return s->conf->lease_seconds * US_PER_S / 10;
}

static bool is_listed(const struct name_list *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    return false;
}

/* Takes off the list who has come back or has no jobs any more: should it be missing again, that
 * counts from then, and the list does not fill with workers that are gone for good. */
static void forget_missing(struct missing *missing, const struct name_list *busy,
                           const struct queue_workers *workers)
{
    int kept = 0;

    for (int i = 0; i < missing->count; i++) {
        const struct queue_worker *worker = find_worker(workers, missing->workers[i].name);

        if (!is_listed(busy, missing->workers[i].name) || (worker && worker->is_alive))
            continue;
        if (kept != i)
            missing->workers[kept] = missing->workers[i];
        kept++;
    }
    missing->count = kept;
}

static void add_ids(const json_t *list, bool objects, struct buf *held)
{
    size_t i;
    const json_t *item;

    json_array_foreach(list, i, item)
    {
        const char *id = objects ? json_member_text(item, "id") : json_string_value(item);
        struct uuid checked;

        if (id && uuid_parse(id, &checked))
            db_array_add(held, checked.text);
    }
}

/* Whether anybody who runs jobs has given no sign of life. */
static bool is_any_missing(const struct name_list *busy, const struct queue_workers *workers)
{
    for (size_t i = 0; i < busy->count; i++) {
        const struct queue_worker *worker = find_worker(workers, busy->items[i]);

        if (!worker || !worker->is_alive)
            return true;
    }
    return false;
}

/* The ids that a living worker says it holds; false when it does not say. */
static bool read_held(const struct queue_worker *worker, struct buf *held)
{
    AUTO(json_decref) json_t *report = NULL;

    if (!worker->report ||
        json_read(worker->report, strlen(worker->report), HELD_MAX, &report, NULL) ||
        !json_is_array(json_object_get(report, "jobs")))
        return false;
    add_ids(json_object_get(report, "jobs"), true, held);
    add_ids(json_object_get(report, "held"), false, held);
    return true;
}

static enum err_code push_back(struct scheduler *s, const char *worker, const struct job_list *jobs,
                               struct err *e)
{
    if (jobs->count > 0) {
        CRASH_POINT("heal.orphans_marked");
        log_warn("orphans_taken_back", L_STR("worker", worker), L_INT("count", jobs->count));
    }
    return job_list_push(jobs, s->redis, e);
}

static enum err_code take_orphans(struct scheduler *s, const char *worker, struct buf *held,
                                  struct err *e)
{
    AUTO_VALUE(job_list_release) struct job_list jobs = {0};
    enum err_code rc;

    db_array_end(held);
    rc = jobs_take_orphans(s->db, worker, held->data, s->conf->lease_seconds * US_PER_S, HEAL_BATCH,
                           &jobs, e);
    return rc ? rc : push_back(s, worker, &jobs, e);
}

static enum err_code take_passed(struct scheduler *s, const char *worker, struct err *e)
{
    AUTO_VALUE(job_list_release) struct job_list jobs = {0};
    enum err_code rc = jobs_take_passed(s->db, worker, &jobs, e);

    return rc ? rc : push_back(s, worker, &jobs, e);
}

static enum err_code heal_worker(struct scheduler *s, const struct queue_workers *workers,
                                 struct missing *missing, const char *name, struct err *e)
{
    const struct queue_worker *worker = find_worker(workers, name);
    AUTO_VALUE(buf_release) struct buf held;
    int64_t missing_us;

    buf_init(&held, HELD_MAX);
    if (worker && worker->is_alive)
        return read_held(worker, &held) ? take_orphans(s, name, &held, e) : ERR_OK;
    missing_us = missing_for(missing, name);
    if (missing_us > s->conf->lease_seconds * US_PER_S)
        return take_orphans(s, name, &held, e);
    return missing_us >= expired_us(s) ? take_passed(s, name, e) : ERR_OK;
}

static enum err_code heal_orphans(struct scheduler *s, struct missing *missing, struct err *e)
{
    AUTO_VALUE(name_list_release) struct name_list names = {0};
    AUTO_VALUE(queue_workers_release) struct queue_workers workers = {0};
    /* A name lives for two thirds of a lease: who is found without one has begun nothing since. */
    enum err_code rc =
        jobs_list_busy_workers(s->db, s->conf->lease_seconds * US_PER_S / 2, &names, e);

    if (!rc && names.count > 0)
        rc = queue_find_workers(s->redis, names.items, names.count, &workers, e);
    /* A Redis that cannot write takes no heartbeats: those who send them are not missing. */
    if (!rc && is_any_missing(&names, &workers))
        rc = queue_check_writable(s->redis, e);
    if (rc)
        return rc;
    forget_missing(missing, &names, &workers);
    for (size_t i = 0; !rc && i < names.count; i++)
        rc = heal_worker(s, &workers, missing, names.items[i], e);
    return rc;
}

/* ---- jobs whose time is over ---- */

static enum err_code expire(struct scheduler *s, struct err *e)
{
    int64_t found = HEAL_BATCH;
    int64_t total = 0;
    enum err_code rc = ERR_OK;

    while (!rc && goes_on(s, found, total)) {
        rc = jobs_expire(s->db, HEAL_BATCH, &found, e);
        if (!rc)
            total += found;
    }
    if (total > 0) {
        CRASH_POINT("expire.done");
        log_info("jobs_expired", L_INT("count", total));
    }
    return rc;
}

/* ---- lines of limits ---- */

/* Seldom: a net under those who wake them, which is what lets jobs go. */
static enum err_code look_at_lines(struct scheduler *s, struct err *e)
{
    enum err_code rc;

    if (clock_mono_us() < s->lines_at_us)
        return ERR_OK;
    rc = limits_look_at_lines(s->db, e);
    if (!rc)
        s->lines_at_us = clock_mono_us() + LINES_SECONDS * US_PER_S;
    return rc;
}

/* ---- cancelled flows ---- */

/* For whoever was killed while he cancelled one. */
static enum err_code finish_cancels(struct scheduler *s, struct err *e)
{
    int64_t found = 1;
    int64_t total = 0;
    enum err_code rc = ERR_OK;

    if (clock_mono_us() < s->cancels_at_us)
        return ERR_OK;
    while (!rc && found > 0 && (total == 0 || scheduler_has_time(s))) {
        rc = flows_finish_cancels(s->db, HEAL_BATCH, &found, e);
        total += rc ? 0 : found;
    }
    if (total > 0)
        log_info("cancelled_flows_finished", L_INT("jobs", total));
    if (found > 0)
        s->more_to_heal = true;
    else if (!rc)
        s->cancels_at_us = clock_mono_us() + CANCELS_SECONDS * US_PER_S;
    return rc;
}

int64_t heal_pause_us(const struct scheduler *scheduler, const struct missing *missing)
{
    int64_t pause_us = scheduler->conf->heal_seconds * US_PER_S;
    int64_t soon_us = expired_us(scheduler) > US_PER_S ? expired_us(scheduler) : US_PER_S;

    if (scheduler->more_to_heal)
        return 0;
    return missing->count > 0 && soon_us < pause_us ? soon_us : pause_us;
}

enum err_code heal(struct scheduler *scheduler, struct missing *missing, struct err *e)
{
    enum err_code rc;

    scheduler->more_to_heal = false;
    rc = expire(scheduler, e);
    if (!rc)
        rc = heal_lost(scheduler, e);
    if (!rc)
        rc = heal_orphans(scheduler, missing, e);
    if (!rc)
        rc = limits_find_uncounted(scheduler->db, e);
    if (!rc)
        rc = look_at_lines(scheduler, e);
    if (!rc)
        rc = finish_cancels(scheduler, e);
    if (rc)
        missing->count = 0; /* nobody can be missed while we cannot see */
    return rc;
}
