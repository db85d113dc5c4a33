/* SPDX-License-Identifier: MIT
 *
 * The thread that hears what people have ordered: which queues are paused, what this worker is to
 * do, and which of its jobs were revoked. It keeps flags for the other threads, and wakes the fetch
 * thread when one changes.
 */
#ifndef WORKER_CONTROL_H
#define WORKER_CONTROL_H

#include "common/redis.h"
#include "worker/process.h"

/* Body of the thread; `context` is a struct process. Ends when the process stops and its control_fd
 * is written to. */
void *control_main(void *context);

/* Whether the fetch thread still works by older flags. It may just be about to block, so one wake
 * is not enough: control_wake_fetch() is called again until this is false. */
bool control_fetch_is_behind(const struct process *process);
void control_wake_fetch(struct process *process, struct redis *redis);

#endif
