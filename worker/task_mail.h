/* SPDX-License-Identifier: MIT
 *
 * What every task that sends a mail ends with.
 */
#ifndef WORKER_TASK_MAIL_H
#define WORKER_TASK_MAIL_H

#include "worker/task.h"

/* Hands the message over within the run's time. A mail server's 4xx means minutes, so it waits
 * longer than after other failures; a 5xx is final; whatever else failed is tried again. Done, its
 * result is {"message_id": ...}. */
enum task_outcome task_send_mail(struct task_run *run, const char *recipient,
                                 const char *message_id, const char *message, struct err *e);

#endif
