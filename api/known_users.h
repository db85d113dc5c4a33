/* SPDX-License-Identifier: MIT
 *
 * Users who were looked up a moment ago, for leases.h: found under the state of all users that they
 * were seen in, and no other. The table never grows. May be used from any thread.
 */
#ifndef API_KNOWN_USERS_H
#define API_KNOWN_USERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/users.h"

/* Under which nobody was changed. */
struct users_seen {
    int64_t version;
    int64_t session; /* the database was the same one, at least */
};

void known_users_keep(const struct user_asking *user, const struct users_seen *seen,
                      int64_t now_us);
/* Fills id, username, is_active and is_staff. */
bool known_users_find(int64_t id, const struct users_seen *seen, int64_t now_us,
                      struct user_asking *ret_user);

#endif
