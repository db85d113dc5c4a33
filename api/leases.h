/* SPDX-License-Identifier: MIT
 *
 * For how long the outcome of a look-up (lookups.h) stands for later requests, too: who asks,
 * which version the catalogue has, and which the rows of one answer have. For a read of the
 * catalogue a few milliseconds, as long as this process serves its database alone and writes
 * nothing meanwhile, and while many clients ask at once; for all else not at all. What is promised,
 * and why it holds, stands in leases.c.
 */
#ifndef API_LEASES_H
#define API_LEASES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/users.h"

enum { LEASE_MS_MAX = 20 }; /* of TILL_API_LOOKUP_MS, of any till-api there may be */

/* Before all threads; 0: there are none. */
void leases_init(int64_t life_us);

/* ---- by whoever leads the look-ups, one thread at a time ---- */

/* The session of the look-ups begins to be registered (common/api_session.h), or is gone. */
void leases_session_begins(void);
void leases_session_ends(void);

struct lease_start {
    int64_t at_us;
    uint64_t writes;
};
/* Before the statement of a look-up is sent, and when its answer is there. */
struct lease_start leases_look(void);
/* What a look-up told of the rows of an answer: a lease of that answer alone. */
struct lease_stamp {
    int64_t at_us; /* 0: it stands for nobody else */
    uint64_t writes;
    int64_t session;
};
struct lease_stamp leases_looked(const struct lease_start *start, const struct users_asking *found);

/* ---- by request threads ---- */

/* Of a request thread: when it was last among those who ask. */
struct lease_user {
    int64_t window;
};

/* Whether the lease tells who a user is, for a request that began at `begun_us` (what is promised
 * is promised to reads by their beginning). False: look him up. Fills id, username, is_active,
 * is_staff and catalogue_version. */
bool leases_find(struct lease_user *mine, int64_t user_id, int connections, int64_t begun_us,
                 struct user_asking *ret_user);

/* Whether a stamp tells as much for such a request, once leases_find() has said yes. */
bool leases_cover(const struct lease_stamp *stamp, int64_t begun_us);

/* After a request that may have written, before its answer: no lease from before it is used any
 * more. */
void leases_note_write(void);
/* How long its answer must wait then, so that no other process uses one either. */
int64_t leases_wait_us(void);

#endif
