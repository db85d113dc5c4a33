/* SPDX-License-Identifier: MIT
 *
 * Leadership: an advisory lock of the scheduler's own PostgreSQL session. It ends with the session,
 * so a dead leader is succeeded as soon as PostgreSQL has seen it go, a frozen one after a lease.
 */
#ifndef COMMON_LEADER_H
#define COMMON_LEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

/* Takes the lock, or tells that another has it. For a leader it proves that it still is one. */
enum err_code leader_try(struct db *db, bool *ret_leads, struct err *e) MUST_CHECK;

/* Within a transaction: proves that this very session leads, and goes on to until the transaction
 * ends. ERR_UNAVAILABLE: another does. */
enum err_code leader_verify(struct db *db, struct err *e) MUST_CHECK;

/* What a new leader's session needs: it hears of jobs that others inserted, and the server ends it,
 * and with it the lock, when it has said nothing for a lease. So a leader that is frozen is
 * succeeded, and whatever it does when it wakes fails. */
enum err_code leader_settle(struct db *db, int64_t lease_seconds, struct err *e) MUST_CHECK;

#endif
