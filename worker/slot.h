/* SPDX-License-Identifier: MIT
 *
 * A slot: the thread that runs jobs, one at a time, with connections of its own.
 */
#ifndef WORKER_SLOT_H
#define WORKER_SLOT_H

#include "worker/process.h"

/* Body of the thread; `process` is a struct process. Ends when the pool is closed. */
void *slot_main(void *process);

#endif
