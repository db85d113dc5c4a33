/* SPDX-License-Identifier: MIT
 *
 * The thread that brings work in: reads as many entries as there is room for, takes over those of
 * dead workers, claims them in one statement, and puts what is ours into the pool.
 */
#ifndef WORKER_FETCH_H
#define WORKER_FETCH_H

#include "worker/process.h"

/* Body of the thread; `context` is a struct process. Ends when the process takes no more work. */
void *fetch_main(void *context);

#endif
