/* SPDX-License-Identifier: MIT
 *
 * The version of the catalogue (products, categories, reviews): what was read of it stays good
 * until it changes, whoever writes by whatever way. See sql/0017_catalogue_version.sql.
 */
#ifndef COMMON_CATALOGUE_H
#define COMMON_CATALOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

/* Whether nobody is writing. What is read after a true answer may be kept under the version that
 * was read before it (users_find_asking() brings it). What a standby gives that has all of the log
 * before *ret_position is as good. */
enum err_code catalogue_is_still(struct db *db, bool *ret_still, int64_t *ret_position,
                                 struct err *e) MUST_CHECK;

#endif
