/* SPDX-License-Identifier: MIT
 *
 * How many jobs there are, by state, by queue, by worker: from PostgreSQL alone, so they are there
 * when Redis is away (what stands in the streams is told by queue_measure()). Counting stops at
 * JOBS_COUNT_MAX: a sum beyond it is given as that number and `is_exact` false. Reads only.
 */
#ifndef COMMON_JOBS_FIGURES_H
#define COMMON_JOBS_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/job.h"

enum { JOBS_COUNT_MAX = 10000 };

struct jobs_sum {
    int64_t count;
    bool is_exact;
};

struct jobs_counts {
    struct jobs_sum states[JOB_STATE_COUNT];
    struct jobs_sum total;
};

/* Of many jobs, the total and SUCCESS are PostgreSQL's own estimate, not exact. */
enum err_code jobs_count(struct db *db, struct jobs_counts *ret_counts, struct err *e) MUST_CHECK;
/* The total alone, which costs next to nothing where there are many. */
enum err_code jobs_count_total(struct db *db, struct jobs_sum *ret_total, struct err *e) MUST_CHECK;

struct jobs_queue {
    const char *name;
    struct jobs_sum waiting;   /* meant to stand in a stream */
    struct jobs_sum scheduled; /* waiting for their time, retries among them */
    struct jobs_sum parked;    /* waiting for a place under a limit of their task or key */
    struct jobs_sum started;
    struct jobs_sum dead;
    int64_t oldest_us; /* since when the oldest of the waiting ones is ready, or of the parked ones
                        * is there; 0: none */
    int64_t paused_us; /* since when it is paused; 0: it is not */
};

struct jobs_queues {
    struct jobs_queue *items; /* owned; sorted by name */
    size_t count;
    struct db_result *rows; /* owned: the names */
};

/* Every queue that a task declares, that holds an unfinished or dead job, that is paused or
 * limited.
 */
enum err_code jobs_list_queues(struct db *db, struct jobs_queues *ret_queues,
                               struct err *e) MUST_CHECK;
/* Adds a queue of which PostgreSQL knows nothing, one that workers read for fast jobs say, at its
 * place; the name is borrowed. What is there already, or no name, changes nothing. */
void jobs_queues_add(struct jobs_queues *queues, const char *name);
void jobs_queues_release(struct jobs_queues *queues);

/* One name a row in column 0, sorted: tasks declared by workers or seen in jobs. */
enum err_code jobs_list_tasks(struct db *db, struct db_result **ret_rows, struct err *e) MUST_CHECK;

/* Name and number of STARTED jobs of each worker that has any: columns 0 and 1. */
enum err_code jobs_list_workers(struct db *db, struct db_result **ret_rows,
                                struct err *e) MUST_CHECK;

#endif
