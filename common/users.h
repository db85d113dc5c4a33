/* SPDX-License-Identifier: MIT
 *
 * The table of users.
 */
#ifndef COMMON_USERS_H
#define COMMON_USERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

enum { USER_NAME_MAX = 150, USER_EMAIL_MAX = 254 }; /* characters */

struct user_new {
    const char *username;
    const char *email;
    const char *first_name;    /* NULL: "" */
    const char *last_name;     /* NULL: "" */
    const char *password_hash; /* of password_hash() */
    bool is_staff;
};

/* All texts are owned; user_release() frees them. */
struct user {
    int64_t id;
    char *username;
    char *email;
    char *first_name;
    char *last_name;
    char *password_hash;
    bool is_active;
    bool is_staff;
    char *created_at; /* as clock_format() writes it */
    char *updated_at;
};

void user_release(struct user *user);

/* Which of the two is taken already; in letters' case a username counts, an e-mail does not. */
struct user_taken {
    bool username;
    bool email;
};

/* The username is stored in Unicode's form NFKC. ERR_CONFLICT with *ret_taken (may be NULL) when
 * username or e-mail are taken; the text says which. ERR_INVALID when a value does not fit its
 * column. */
enum err_code users_create(struct db *db, const struct user_new *new_user, int64_t *ret_id,
                           struct user_taken *ret_taken, struct err *e) MUST_CHECK;

/* What every request needs to know of who makes it, and with it the version of the catalogue and
 * what a standby must have for this user (common/standby.h): one round trip brings it all. */
struct user_asking {
    int64_t id;
    char username[64]; /* cut where it is longer */
    bool is_active;
    bool is_staff;
    int64_t catalogue_version;
    int64_t position; /* of the primary's log; 0 when this is a standby itself */
    int64_t writes;   /* of this user, as standby_note_write() counts them */
};

enum err_code users_find_asking(struct db *db, int64_t id, struct user_asking *ret_user,
                                struct err *e) MUST_CHECK;
/* The same for several at once, who may be named twice: those that exist, in any order, and what
 * tells for how long that is good. */
enum { USERS_ASKING_MAX = 64 };
struct users_asking {
    struct user_asking users[USERS_ASKING_MAX];
    size_t count;
    int64_t catalogue_version;
    int64_t users_version; /* another one after any change of users */
    int64_t api_sessions;  /* SQL_API_SESSIONS, 0 for its NULL */
};
enum err_code users_find_many_asking(struct db *db, const int64_t *ids, size_t count,
                                     struct users_asking *ret, struct err *e) MUST_CHECK;
enum err_code users_find_by_email(struct db *db, const char *email, struct user *ret_user,
                                  struct err *e) MUST_CHECK;

/* Which names are taken, before anything is written; either may be NULL. *ret_username is the name
 * in the form in which it is stored (Unicode's NFKC), which may be longer; mem_free(), or NULL. */
enum err_code users_look_taken(struct db *db, const char *username, const char *email,
                               struct user_taken *ret_taken, char **ret_username,
                               struct err *e) MUST_CHECK;

#endif
