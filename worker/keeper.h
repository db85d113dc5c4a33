/* SPDX-License-Identifier: MIT
 *
 * The thread that keeps what a process holds: acknowledges what is settled, renews leases, tells
 * that the process lives, and ends it when a job overruns its hard limit.
 */
#ifndef WORKER_KEEPER_H
#define WORKER_KEEPER_H

#include "worker/process.h"

/* Body of the thread; `context` is a struct process. Ends when process->keeper_ends, after a last
 * round of acknowledgements. */
void *keeper_main(void *context);

#endif
