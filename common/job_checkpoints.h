/* SPDX-License-Identifier: MIT
 *
 * Where a job of many parts goes on when it is run again, kept in its row.
 */
#ifndef COMMON_JOB_CHECKPOINTS_H
#define COMMON_JOB_CHECKPOINTS_H

#include "common/db.h"
#include "common/err.h"
#include "common/jobs_run.h"

enum { JOB_CHECKPOINT_MAX = 16 * 1024 }; /* bytes of JSON */

/* Sent with the commit of the caller's transaction, which fails with ERR_CONFLICT when another has
 * taken over; `checkpoint` is JSON. */
enum err_code job_checkpoints_write_later(struct db *db, const struct attempt *attempt,
                                          const char *checkpoint, struct err *e) MUST_CHECK;

/* The last one of that job, of whatever attempt: JSON, owned by the caller; NULL: there is none. */
enum err_code job_checkpoints_read(struct db *db, const struct uuid *job, char **ret_checkpoint,
                                   struct err *e) MUST_CHECK;

#endif
