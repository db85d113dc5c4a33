/* SPDX-License-Identifier: MIT
 *
 * The sessions by which the till-api processes on one database know of each other. Each process
 * registers one: the session then holds a shared lock for as long as it lives, and so does the
 * server know of it when its process does not. Why: api/leases.c. Tables: sql/0029_api_leases.sql.
 */
#ifndef COMMON_API_SESSION_H
#define COMMON_API_SESSION_H

#include <stdbool.h>

#include "common/db.h"
#include "common/err.h"

/* Registers the session of this connection. ERR_OK and false: not now (somebody asks just at this
 * moment who is registered), or not by this connection (a standby, or a pooler in between, which
 * may lend the session to others). */
enum err_code api_session_register(struct db *db, bool *ret_registered, struct err *e) MUST_CHECK;

#define SQL_API_SESSIONS_LOCK "hashtextextended('till api', 0)"

/* NULL while other sessions are registered than the one that asks, else how many ever were. Nobody
 * was registered between two answers that are the same: the number is read before the lock is
 * tried, and raised after it was taken. To be evaluated once in a statement, as here. */
#define SQL_API_SESSIONS                                                                           \
    "(SELECT CASE WHEN s.last_value > 0 THEN"                                                      \
    " CASE WHEN pg_try_advisory_lock(" SQL_API_SESSIONS_LOCK ") THEN"                              \
    " CASE WHEN pg_advisory_unlock(" SQL_API_SESSIONS_LOCK ") THEN s.last_value END END END"       \
    " FROM api_sessions s)"

#endif
