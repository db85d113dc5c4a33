/* SPDX-License-Identifier: MIT
 *
 * What the running jobs of a process say, on its way to PostgreSQL. Handlers put it down and go on;
 * a thread of the journal's own writes it within a fraction of a second, many lines a statement,
 * whatever transaction the handler is in. Neither thread nor connection exists before the first
 * line.
 *
 * What is put down waits in memory, bounded: while PostgreSQL is away, the rest is counted and
 * lost.
 */
#ifndef WORKER_JOURNAL_H
#define WORKER_JOURNAL_H

#include <stdint.h>

#include "common/job_logs.h"

struct journal;

/* `database_url` is borrowed. */
struct journal *journal_new(const char *database_url);
/* Writes what is left, within `timeout_us`. No job may use it any more. */
void journal_end(struct journal *journal, int64_t timeout_us);

/* Gives the number that journal_flush() waits for. The text of the line is copied. */
uint64_t journal_add_line(struct journal *journal, const struct job_log_line *line);
/* Replaces what the same job said of its progress and is not written yet. */
uint64_t journal_set_progress(struct journal *journal, const struct job_progress *progress);

/* Waits until everything up to `number` is written, or given up, or the time is over. */
void journal_flush(struct journal *journal, uint64_t number, int64_t timeout_us);

#endif
