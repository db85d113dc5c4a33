/* SPDX-License-Identifier: MIT
 *
 * What a streaming standby has of the primary's data. Positions are bytes of the write-ahead log:
 * users_find_asking() and catalogue_look() bring the primary's.
 */
#ifndef COMMON_STANDBY_H
#define COMMON_STANDBY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

struct standby {
    bool is_following; /* still a standby, and connected to its primary */
    int64_t position;  /* everything before it is there for the next statement */
    int64_t writes;    /* of the user who was asked for */
};

/* Asks a standby: `db` is a connection to it. */
enum err_code standby_look(struct db *db, int64_t user_id, struct standby *ret,
                           struct err *e) MUST_CHECK;

/* Counts a write of this user, last in its transaction on the primary. */
enum err_code standby_note_write(struct db *db, int64_t user_id, struct err *e) MUST_CHECK;

#endif
