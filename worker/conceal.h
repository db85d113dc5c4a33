/* SPDX-License-Identifier: MIT
 *
 * What a worker tells of a failed attempt outside of the job's own rows: in its log and in its
 * report. There nobody looks up what people have declared, so what the task itself declares, and
 * what looks like a secret, is hidden before.
 */
#ifndef WORKER_CONCEAL_H
#define WORKER_CONCEAL_H

#include "common/err.h"
#include "worker/pool.h"

/* A copy of `why` without the secrets of the job. */
void conceal_err(const struct item *item, const struct err *why, struct err *ret_shown);

#endif
