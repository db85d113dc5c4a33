/* SPDX-License-Identifier: MIT
 *
 * In which versions the rows are that an answer of the catalogue shows, asked for by those who find
 * it under an older version of the whole, and for many in one statement (groups.h). They go over a
 * connection of their own, since they wait where somebody locks the products as a whole.
 */
#ifndef API_ROW_VERSIONS_H
#define API_ROW_VERSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/catalogue.h"

/* Before and after all threads. */
void row_versions_init(const char *database_url);
void row_versions_end(void);

/* The place of one request thread among those that wait. */
struct row_asker;
struct row_asker *row_asker_new(void);
void row_asker_free(struct row_asker *mine); /* accepts NULL */

/* Fills the versions of the rows (0: there is none, or too many were asked for) and the shape, as
 * they were after the call began. False: nobody knows. */
bool row_versions_ask(struct row_asker *mine, struct catalogue_rows *rows, int64_t *ret_shape);

#endif
