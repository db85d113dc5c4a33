/* SPDX-License-Identifier: MIT
 *
 * What a worker process tells of itself: the heartbeat's JSON, which the command line, the
 * dashboard and the scheduler read, and the log lines of SIGUSR1. Reads only, but for the last
 * error.
 */
#ifndef WORKER_REPORT_H
#define WORKER_REPORT_H

#include "common/buf.h"
#include "common/err.h"
#include "worker/process.h"

enum { REPORT_MAX = 192 * 1024 }; /* bytes */

struct last_error *last_error_new(void);

/* An attempt failed. Any thread. */
void report_note_error(struct process *process, const struct item *item, int attempt,
                       const struct err *why);

/* One JSON object. Its members are told in common/PROTOCOL.md. */
void report_write(struct process *process, struct buf *report);

/* What every thread is doing, one log line each. */
void report_log(struct process *process);

/* Of this process. */
int64_t report_resident_bytes(void);

#endif
