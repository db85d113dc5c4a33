/* SPDX-License-Identifier: MIT
 *
 * What people order of running workers: quiet, stop, restart, another size of the pool, other
 * queues. An order is kept in PostgreSQL, heard at once through till_control, and outlives the
 * worker, its supervisor and an emptied Redis: whoever holds the name then is held to it.
 *
 * `whom` is a worker ("host:N"), a host (all workers on it) or "all". The last word counts: an
 * order to many takes back what was said to a single one of them of the same matter. To check a
 * name that somebody typed, call workers_find() first; the orders themselves are taken for any.
 *
 *   rc = workers_find(redis, whom, &found, e);           ERR_NOT_FOUND: no such worker
 *   if (!rc)
 *       rc = workers_grow(db, &found, 2, "ann", e);      found.items[i].slots are the new sizes
 */
#ifndef COMMON_WORKER_ORDERS_H
#define COMMON_WORKER_ORDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/queue.h"
#include "common/queue_list.h"

enum { WORKER_SLOTS_MAX = 256, WORKER_QUEUES_MAX = QUEUE_LIST_MAX };

#define WORKERS_ALL "all"

/* ---- whom ---- */

struct worker_found {
    char name[QUEUE_WORKER_NAME_SIZE];
    bool is_alive;
    int slots; /* of its pool, as it last told; 0: it has not */
};

struct workers_found {
    struct worker_found *items; /* owned */
    size_t count;
};

void workers_found_release(struct workers_found *found);

/* The workers of the last day that `whom` concerns. ERR_INVALID: no name; ERR_NOT_FOUND: none. */
enum err_code workers_find(struct redis *redis, const char *whom, struct workers_found *ret_found,
                           struct err *e) MUST_CHECK;

/* Whether an order to `whom` concerns this worker. Pure. */
bool worker_is_meant(const char *whom, const char *name);

/* ---- giving orders; `by` is told to people and may be NULL ---- */

/* Takes no more work, and finishes what it has; false: goes on. */
enum err_code workers_quiet(struct db *db, const char *whom, bool quiet, const char *by,
                            struct err *e) MUST_CHECK;

/* Ends as by TERM and is not replaced; a supervisor without processes ends. It concerns processes
 * that run now (or replace one that does), not those of a supervisor started later. */
enum err_code workers_stop(struct db *db, const char *whom, const char *by,
                           struct err *e) MUST_CHECK;

/* Finishes what it has, ends and is replaced; of one supervisor's one after the other. */
enum err_code workers_restart(struct db *db, const char *whom, const char *by,
                              struct err *e) MUST_CHECK;

/* So many jobs at the same time in each process, 1 to WORKER_SLOTS_MAX; 0: as it was set up by
 * TILL_WORKER_CONCURRENCY. Ends autoscaling. */
enum err_code workers_scale(struct db *db, const char *whom, int slots, const char *by,
                            struct err *e) MUST_CHECK;

/* Each process finds its size itself, by the age of what waits, within these. */
enum err_code workers_autoscale(struct db *db, const char *whom, int min, int max, const char *by,
                                struct err *e) MUST_CHECK;

/* `by_slots` more (or, negative, fewer) than now, for each that is alive; all of them or none.
 * Writes the new sizes into `found`. Ends their autoscaling. ERR_INVALID: one would leave 1 to
 * WORKER_SLOTS_MAX; ERR_NOT_FOUND: none is alive. */
enum err_code workers_grow(struct db *db, struct workers_found *found, int by_slots, const char *by,
                           struct err *e) MUST_CHECK;

/* Consumes the queue, too, or no longer, whatever TILL_QUEUES says. What a worker holds of it is
 * run to its end. ERR_INVALID: no name of a queue, or WORKER_QUEUES_MAX are ordered of `whom`
 * already. */
enum err_code workers_consume(struct db *db, const char *whom, const char *queue, bool consume,
                              const char *by, struct err *e) MUST_CHECK;

/* Forgets what was ordered: back to how the workers were set up. ret_count: rows that said
 * anything. */
enum err_code workers_forget(struct db *db, const char *whom, int64_t *ret_count,
                             struct err *e) MUST_CHECK;

/* ---- reading them ---- */

/* Whether a queue is to be consumed. */
struct worker_consumer {
    char queue[QUEUE_LIST_NAME_MAX + 1];
    bool consumes;
};

/* What one row, or all rows that concern a worker together, say. */
struct worker_order {
    char whom[128]; /* of a row */
    bool says_quiet;
    bool quiet;
    bool says_size;
    int slots; /* 0: as set up */
    int slots_min;
    int slots_max;          /* 0: no autoscaling */
    int64_t stop_age_us;    /* since it was ordered; negative: it was not */
    int64_t restart_age_us; /* likewise */
    struct worker_consumer consumers[WORKER_QUEUES_MAX];
    size_t consumer_count;
    int64_t ordered_us; /* wall */
    char ordered_by[64];
};

/* What a worker is to do: the merger of the rows that concern it, by one statement. */
enum err_code worker_orders_of(struct db *db, const char *name, struct worker_order *ret_order,
                               struct err *e) MUST_CHECK;

/* The rule of the merger, pure: `rows` from the nearest to the widest. */
struct worker_order worker_order_merge(const struct worker_order *rows, size_t count);

struct worker_order_list {
    struct worker_order *items; /* owned */
    size_t count;
};

void worker_order_list_release(struct worker_order_list *list);

/* All rows that say anything, by name. */
enum err_code worker_orders_list(struct db *db, struct worker_order_list *ret_list,
                                 struct err *e) MUST_CHECK;

#endif
