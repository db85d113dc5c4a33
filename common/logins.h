/* SPDX-License-Identifier: MIT
 *
 * Who is logged in to the dashboard: kept in PostgreSQL, so a login outlives restarts and holds at
 * every dashboard. What stands in the cookie is never stored, only its hash.
 */
#ifndef COMMON_LOGINS_H
#define COMMON_LOGINS_H

#include "common/db.h"
#include "common/err.h"

enum {
    LOGIN_TOKEN_SIZE = 44, /* 32 random bytes as text, with its NUL */
    LOGIN_NAME_SIZE = 64,
    LOGIN_HOURS = 12,
};

/* Makes a login and gives what the cookie holds. */
enum err_code logins_add(struct db *db, const char *username, char ret_token[LOGIN_TOKEN_SIZE],
                         struct err *e) MUST_CHECK;

/* Whose it is. ERR_NOT_FOUND when nobody's, or not any more. */
enum err_code logins_find(struct db *db, const char *token, char ret_username[LOGIN_NAME_SIZE],
                          struct err *e) MUST_CHECK;

enum err_code logins_drop(struct db *db, const char *token, struct err *e) MUST_CHECK;

/* Deletes at most `max` logins that have expired; ret_count: how many. */
enum err_code logins_prune(struct db *db, int max, int64_t *ret_count, struct err *e) MUST_CHECK;

#endif
