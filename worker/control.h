/* SPDX-License-Identifier: MIT
 *
 * The thread that hears what people have ordered: which queues are paused. It keeps a flag for each
 * stream of the process, and wakes the fetch thread when one changes.
 */
#ifndef WORKER_CONTROL_H
#define WORKER_CONTROL_H

#include "worker/process.h"

/* Body of the thread; `context` is a struct process. Ends when the process takes no more work and
 * its control_fd is written to. */
void *control_main(void *context);

#endif
