/* SPDX-License-Identifier: MIT
 *
 * Reading the streams that are open, in turn (turns.h), and waiting for them. It reads; what
 * becomes of the entries is the fetch thread's affair, and that thread alone uses it.
 */
#ifndef WORKER_READER_H
#define WORKER_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/queue.h"
#include "common/redis.h"
#include "worker/process.h"

struct reader;

struct reader *reader_new(struct process *process);
void reader_free(struct reader *reader);

/* Looks at what is consumed, paused and limited now. */
void reader_refresh(struct reader *reader);

/* The open streams: indexes into process->streams. Borrowed, until the next refresh. */
const size_t *reader_open(const struct reader *reader, size_t *ret_count);

/* One round: at most `room` new entries, without waiting. What was read before an error comes with
 * it. */
enum err_code reader_read(struct reader *reader, struct redis *redis, int room,
                          struct queue_deliveries *ret_deliveries, struct err *e) MUST_CHECK;

/* Waits up to `block_ms` for something new. It asks for one entry of each stream, so that a wait
 * rarely brings more than there is room for. While queues with a limit are open it reads nothing
 * and may return early: reader_read() is to follow. */
enum err_code reader_wait(struct reader *reader, struct redis *redis, int block_ms,
                          struct queue_deliveries *ret_deliveries, struct err *e) MUST_CHECK;

#endif
