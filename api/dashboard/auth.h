/* SPDX-License-Identifier: MIT
 *
 * Who may look: HTTP Basic against the one user of TILL_DASHBOARD_AUTH. Without that setting
 * everybody on this machine may, and the dashboard listens on loopback only. Pure.
 */
#ifndef API_DASHBOARD_AUTH_H
#define API_DASHBOARD_AUTH_H

#include <stdbool.h>

#include "common/err.h"

enum { AUTH_HASH_SIZE = 32 };

struct auth {
    bool is_required;
    unsigned char hash[AUTH_HASH_SIZE]; /* of "user:password" */
};

/* Reads the setting ("" : nobody is asked) and refuses, with ERR_INVALID, one that is no
 * user:password, and an address beyond this machine when there is none. */
enum err_code auth_init(struct auth *auth, const char *setting, const char *listen,
                        struct err *e) MUST_CHECK;

/* `header` is the value of Authorization, NULL when there is none. In constant time. */
bool auth_admits(const struct auth *auth, const char *header);

/* Whether an address of the form of TILL_DASHBOARD_LISTEN can be reached from this machine only. */
bool auth_is_loopback(const char *listen);

/* Whether a Host header names this machine. Where nobody is asked for a password, any other name
 * is a web page's attempt to reach us through the visitor's browser (DNS rebinding). */
bool auth_is_local_host(const char *host);

#endif
