/* SPDX-License-Identifier: MIT
 *
 * Passwords: hashing with Argon2id (libsodium; 19 MiB, two passes: OWASP's first choice) and the
 * four rules that Django has, with its texts.
 *
 * A hash takes 19 MiB and some 25 ms of a core, so no more of them run at once than there are
 * cores; who does not get a turn within PASSWORD_WAIT_S gets ERR_UNAVAILABLE.
 */
#ifndef COMMON_PASSWORD_H
#define COMMON_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

enum {
    PASSWORD_HASH_SIZE = 128, /* crypto_pwhash_STRBYTES */
    PASSWORD_MAX_CHARS = 128,
    PASSWORD_WAIT_S = 5,
    PASSWORD_RULES = 4,
    PASSWORD_MESSAGE_SIZE = 96,
};

enum err_code password_hash(const char *password, char ret_hash[PASSWORD_HASH_SIZE],
                            struct err *e) MUST_CHECK;

/* `hash` NULL (nobody has this name) takes as long as a wrong password and does not match. */
enum err_code password_verify(const char *hash, const char *password, bool *ret_matches,
                              struct err *e) MUST_CHECK;

/* ---- rules: pure ---- */

/* What the password must not resemble; NULL and "" are left out. */
struct password_owner {
    const char *username;
    const char *first_name;
    const char *last_name;
    const char *email;
};

struct password_faults {
    char messages[PASSWORD_RULES][PASSWORD_MESSAGE_SIZE];
    size_t count; /* 0: a good password */
};

void password_judge(const char *password, const struct password_owner *owner,
                    struct password_faults *ret_faults);

/* password_list.c */
extern const char *const password_common_list[];
extern const size_t password_common_count;

#endif
