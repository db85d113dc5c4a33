/* SPDX-License-Identifier: MIT
 *
 * Enqueueing fast jobs: a stream entry alone, no row. It may be lost when Redis is, and run twice
 * when a worker dies; for tasks that are declared `.fast`.
 */
#ifndef COMMON_QUEUE_FAST_H
#define COMMON_QUEUE_FAST_H

#include <stddef.h>

#include "common/err.h"
#include "common/jobs.h"
#include "common/queue.h"

/* Adds any number of jobs to the stream, pipelined, a thousand in a round trip. `ret_ids`, with one
 * element for each job, or NULL. The caller has checked the jobs (jobs_check()); ERR_INVALID for
 * what only a row can hold: a time, a unique key, attempts, retention. After an error some of them
 * may have been added; their ids are not told. */
enum err_code queue_push_fast(struct redis *redis, const struct queue_stream *stream,
                              const struct job_new *jobs, size_t count, struct uuid *ret_ids,
                              struct err *e) MUST_CHECK;

#endif
