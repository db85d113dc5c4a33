/* SPDX-License-Identifier: MIT
 *
 * Who makes a request and how the catalogue stands, asked for by every request that needs to know,
 * and for many in one statement (groups.h). All of them go over one connection of their own.
 */
#ifndef API_LOOKUPS_H
#define API_LOOKUPS_H

#include <stdint.h>

#include "api/leases.h"
#include "common/auto.h"
#include "common/db.h"
#include "common/err.h"
#include "common/users.h"

/* Before and after all threads. */
void lookups_init(const char *database_url);
void lookups_end(void);

/* The place of one request thread among those that wait. */
struct lookup;
struct lookup *lookup_new(void);
void lookup_free(struct lookup *mine); /* accepts NULL */
AUTO_DEFINE(struct lookup *, lookup_free);

/* What a look-up tells of its moment. */
struct lookup_moment {
    struct lease_stamp stamp;
    int64_t same_us; /* since when the catalogue has its version; monotonic */
    bool is_busy;    /* it changes all the time */
};

/* users_find_asking(). ERR_UNAVAILABLE, and nothing else that failed: the caller may still ask
 * alone, on a connection of its own. */
enum err_code lookup_user(struct lookup *mine, int64_t id, struct user_asking *ret_user,
                          struct lookup_moment *ret_moment, struct err *e) MUST_CHECK;

#endif
