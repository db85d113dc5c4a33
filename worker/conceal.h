/* SPDX-License-Identifier: MIT
 *
 * What a worker tells of a failed attempt outside of the job's own rows: in its log and in its
 * report. There nobody looks up what people have declared, so what the task itself declares, and
 * what looks like a secret, is hidden before.
 */
#ifndef WORKER_CONCEAL_H
#define WORKER_CONCEAL_H

#include <jansson.h>

#include "common/err.h"
#include "worker/pool.h"

struct task;

/* A copy of `why` without the secrets of the job. */
void conceal_err(const struct item *item, const struct err *why, struct err *ret_shown);

/* The headers of a job without its secrets, for log lines and for what goes out; NULL when it has
 * none. Owned by the caller. */
json_t *conceal_headers(const struct item *item, const char *headers);

/* The same as text for a log line, of a job that does not come to run; to be freed with mem_free().
 */
char *conceal_headers_line(const struct task *task, const char *headers);

#endif
