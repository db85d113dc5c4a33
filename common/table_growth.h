/* SPDX-License-Identifier: MIT
 *
 * What PostgreSQL's planner knows of tables that have just grown.
 */
#ifndef COMMON_TABLE_GROWTH_H
#define COMMON_TABLE_GROWTH_H

#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

/* Analyzes the small tables that are more than twice as large as the planner takes them for
 * (sql/0037), and those that have more than ten times the rows that it knows of (sql/0057): every
 * session then makes its plans anew. Gives the number of tables. */
enum err_code table_growth_analyze(struct db *db, int64_t *ret_count, struct err *e) MUST_CHECK;

#endif
