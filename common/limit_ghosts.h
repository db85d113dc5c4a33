/* SPDX-License-Identifier: MIT
 *
 * Jobs that were revoked while they ran, and whose handlers go on: the places that they have under
 * limits of tasks and keys stay counted until those have ended (sql/0054). Whoever revokes makes
 * the row, by a trigger; the worker renews it while the handler runs and ends it then. What nobody
 * renews runs out by itself.
 */
#ifndef COMMON_LIMIT_GHOSTS_H
#define COMMON_LIMIT_GHOSTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/jobs_run.h"

/* Keeps the places of revoked jobs whose handlers still run for `for_us` more, within which this is
 * called again. An attempt that has no row there, since it had no place, gets none. */
enum err_code limit_ghosts_renew(struct db *db, const struct attempt *attempts, size_t count,
                                 int64_t for_us, struct err *e) MUST_CHECK;

/* Their handlers have ended, or never begun. */
enum err_code limit_ghosts_end(struct db *db, const struct attempt *attempts, size_t count,
                               struct err *e) MUST_CHECK;

#endif
