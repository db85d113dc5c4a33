/* SPDX-License-Identifier: MIT
 *
 * Who makes a request and how the catalogue stands, asked for by every request that needs to know,
 * and for many in one statement: requests that come while a look-up is under way wait for its end
 * and then share the next one, as transactions share a flush of the log. So each look-up begins
 * after its request has come, and what it finds is as fresh as one of the request's own; one that
 * comes alone waits for nobody. All of them go over one connection of their own.
 */
#ifndef API_LOOKUPS_H
#define API_LOOKUPS_H

#include <stdint.h>

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

/* users_find_asking(). ERR_UNAVAILABLE, and nothing else that failed: the caller may still ask
 * alone, on a connection of its own. */
enum err_code lookup_user(struct lookup *mine, int64_t id, struct user_asking *ret_user,
                          struct err *e) MUST_CHECK;

#endif
