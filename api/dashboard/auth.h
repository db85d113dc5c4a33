/* SPDX-License-Identifier: MIT
 *
 * Who may do what: the one administrator of TILL_DASHBOARD_AUTH, and the users, roles and tokens in
 * the file of TILL_DASHBOARD_USERS. Without both, everybody on this machine is an administrator,
 * and the dashboard listens on loopback only.
 *
 * The file has a line for each: NAME:ROLE:HASH, where HASH is an Argon2id hash of a password or
 * "$token$" and the hash of a token; `till dashboard user` and `till dashboard token` make them. It
 * may be read again while requests are served.
 */
#ifndef API_DASHBOARD_AUTH_H
#define API_DASHBOARD_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

/* Each may do what those before it may. */
enum role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN };

enum { AUTH_NAME_SIZE = 64 };

const char *role_name(enum role role);

struct auth;

/* Refuses, with ERR_INVALID, settings that are wrong, a file that cannot be understood, and an
 * address beyond this machine when there is no user. "" is a setting that is not there. */
enum err_code auth_new(const char *setting, const char *path, const char *listen,
                       struct auth **ret_auth, struct err *e) MUST_CHECK;
void auth_free(struct auth *auth);

/* Reads the file again; on an error all stays as it was. */
enum err_code auth_reload(struct auth *auth, struct err *e) MUST_CHECK;

bool auth_is_required(const struct auth *auth);
bool auth_has_users(const struct auth *auth); /* a file: people log in by a page */

struct auth_user {
    char name[AUTH_NAME_SIZE];
    enum role role;
};

/* Somebody's try to be let in. */
struct auth_try {
    const char *address; /* in: as limits_address() gives it */
    /* Out: */
    int64_t wait_s;            /* of ERR_CONFLICT: when the next one may be made */
    bool was_compared;         /* of ERR_DENIED: a password was, and it was wrong */
    char name[AUTH_NAME_SIZE]; /* that was given, for the logs; "?" when it is none */
};

/* A name and a password: ERR_DENIED when they do not match, ERR_CONFLICT when too many were wrong
 * (guesses.h), ERR_UNAVAILABLE when too many are being checked. */
enum err_code auth_check_password(struct auth *auth, struct auth_try *io_try, const char *name,
                                  const char *password, struct auth_user *ret_user,
                                  struct err *e) MUST_CHECK;

/* The value of an Authorization header: Basic or Bearer. Errors as above. */
enum err_code auth_check_header(struct auth *auth, struct auth_try *io_try, const char *header,
                                struct auth_user *ret_user, struct err *e) MUST_CHECK;

/* Somebody who has logged in before: false when there is no such user any more. */
bool auth_find(struct auth *auth, const char *name, struct auth_user *ret_user);

/* Whether an address of the form of TILL_DASHBOARD_LISTEN can be reached from this machine only. */
bool auth_is_loopback(const char *listen);

/* Whether a Host header names this machine. Where nobody is asked for a password, any other name
 * is a web page's attempt to reach us through the visitor's browser (DNS rebinding). */
bool auth_is_local_host(const char *host);

#endif
