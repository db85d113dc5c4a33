/* SPDX-License-Identifier: MIT
 *
 * The stream `till:events`: what has just become of jobs, for live views. Capped, written without
 * waiting for anybody, a sample when there is more than fits: the truth stands in PostgreSQL.
 */
#ifndef COMMON_QUEUE_EVENTS_H
#define COMMON_QUEUE_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/job.h"
#include "common/redis.h"

enum { QUEUE_EVENTS_MAX = 10000 }; /* about so many entries are kept */

struct queue_event {
    struct uuid job;
    char task[JOB_NAME_MAX + 1];
    enum job_state state;
    int attempt;
    int64_t at_us;      /* wall */
    int64_t runtime_us; /* 0 for STARTED */
};

/* `skipped`: changes that happened since the last call and are not among these. */
enum err_code queue_publish_events(struct redis *redis, const char *worker,
                                   const struct queue_event *events, size_t count, uint64_t skipped,
                                   struct err *e) MUST_CHECK;

#endif
