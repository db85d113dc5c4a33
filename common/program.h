/* SPDX-License-Identifier: MIT
 *
 * What every main() begins and ends with: settings, logs, signals, the exit code. Signals are
 * blocked in all threads and taken by main() alone with program_wait(), so no handler ever runs.
 */
#ifndef COMMON_PROGRAM_H
#define COMMON_PROGRAM_H

#include <stdint.h>

#include "common/conf.h"
#include "common/err.h"

#define TILL_VERSION "0.1.0"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Loads the settings and starts logging. Returns -1 to go on, else the exit code: --help, --version
 * and wrong settings end here, with their message printed, and --check with nothing printed yet.
 * `usage` is the first lines of the help page. */
int program_start(const char *name, enum program program, const char *usage, int argc, char **argv,
                  struct conf *conf, struct conf_request *ret_request);

/* The end of --check, once the program has looked at what it alone knows: tells what it found
 * wrong, or that all is well, and gives the exit code. */
int program_check_done(const char *name, const struct err *wrong);

/* What every main() ends with: its exit code. Output that got lost must not look like none: then it
 * is told, and done becomes failed. */
int program_end(const char *name, int code);

/* Waits for one of TERM, INT, QUIT, HUP, TSTP, CONT, USR1, CHLD. Returns its number, or 0 when
 * `timeout_us` is over; negative waits for ever. */
int program_wait(int64_t timeout_us);

/* Undoes the blocking of signals in a child process that runs other code. */
void program_unblock_signals(void);

#endif
