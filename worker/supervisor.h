/* SPDX-License-Identifier: MIT
 *
 * The process above the worker processes: starts them, replaces those that die, passes signals on.
 * It has no threads and no connections, so that nothing can hurt it.
 */
#ifndef WORKER_SUPERVISOR_H
#define WORKER_SUPERVISOR_H

#include "common/conf.h"

/* Runs until TERM, INT or QUIT; gives the exit code. */
int supervise(const struct conf *conf);

#endif
