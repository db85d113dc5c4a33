/* SPDX-License-Identifier: MIT
 *
 * Lines of the log that may come some milliseconds late, several with one write: a busy server pays
 * more for writing a short line than for making it. Only for lines that nobody waits for and of
 * which the last may go with a process that is killed.
 */
#ifndef COMMON_LOG_GATHER_H
#define COMMON_LOG_GATHER_H

#include <stdbool.h>
#include <stddef.h>

enum { LOG_GATHER_MS = 10 };

/* From start to stop a thread writes what has been gathered for LOG_GATHER_MS; without it every
 * line is written at once. Nobody gathers during the stop. */
void log_gather_start(void);
void log_gather_stop(void);

/* log.c's: takes a line, and writes it now, with all that has been gathered, or soon. */
void log_gather(const char *line, size_t len, bool at_once);
/* log.c's as well: writes to stderr. */
void log_put(const char *text, size_t len);

#endif
