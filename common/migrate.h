/* SPDX-License-Identifier: MIT
 *
 * Forward-only migrations: the files sql/NNNN_name.sql, which stand inside the programs, each
 * applied in a transaction of its own and recorded in `schema_migrations`. Safe when several run at
 * once: one works, the others wait and find nothing left to do. Safe beside programs at work, too:
 * a file that needs a table for itself gives up half a second later, and is tried again, for as
 * long as an hour.
 */
#ifndef COMMON_MIGRATE_H
#define COMMON_MIGRATE_H

#include <stdbool.h>

#include "common/db.h"
#include "common/err.h"

/* Called after each migration that was applied. */
typedef void migrate_progress(const char *name, void *context);

/* Brings the database to this program's version, and what the programs' roles may do in it to what
 * sql/grants.sql says; with `make_roles`, roles that are missing are made before. ERR_CONFLICT when
 * the database is newer than the program, or when an applied file has changed since. */
enum err_code migrate_up(struct db *db, bool make_roles, migrate_progress *progress, void *context,
                         struct err *e) MUST_CHECK;

/* ERR_UNAVAILABLE, with what to do, unless the database is at this program's version. */
enum err_code migrate_check(struct db *db, struct err *e) MUST_CHECK;

/* Loads sql/demo.sql; loading it again changes nothing. */
enum err_code migrate_seed(struct db *db, struct err *e) MUST_CHECK;

#endif
