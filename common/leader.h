/* SPDX-License-Identifier: MIT
 *
 * Leadership: an advisory lock of the scheduler's own PostgreSQL session. It ends with the session,
 * so a dead leader is succeeded as soon as PostgreSQL has seen it go.
 */
#ifndef COMMON_LEADER_H
#define COMMON_LEADER_H

#include <stdbool.h>

#include "common/db.h"
#include "common/err.h"

/* Takes the lock, or tells that another has it. For a leader it proves that it still is one. */
enum err_code leader_try(struct db *db, bool *ret_leads, struct err *e) MUST_CHECK;

/* Subscribes the session to jobs that others inserted. */
enum err_code leader_listen(struct db *db, struct err *e) MUST_CHECK;

#endif
