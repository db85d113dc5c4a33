/* SPDX-License-Identifier: MIT
 *
 * Logins of the dashboard; see logins.h. Owns the table dashboard_sessions.
 */
#include "common/logins.h"

#include <string.h>

#include <sodium.h>

#include "common/buf.h"
#include "common/statements.h"

enum { ADD, FIND, DROP, PRUNE };

static const struct db_stmt statements[] = {
    [ADD] = {"logins_add",
             "INSERT INTO dashboard_sessions (hash, username, expires_at)"
             " VALUES ($1, $2, now() + make_interval(hours => $3::int))",
             3},
    [FIND] = {"logins_find",
              "SELECT username FROM dashboard_sessions WHERE hash = $1 AND expires_at > now()", 1},
    [DROP] = {"logins_drop", "DELETE FROM dashboard_sessions WHERE hash = $1", 1},
    [PRUNE] = {"logins_prune",
               "DELETE FROM dashboard_sessions WHERE hash = ANY (ARRAY(SELECT hash"
               " FROM dashboard_sessions WHERE expires_at <= now() ORDER BY expires_at LIMIT $1"
               " FOR UPDATE SKIP LOCKED))",
               1},
};

DB_STATEMENTS(logins, statements);

enum { HASH_BYTES = 32 };

static void hash_of(const char *token, unsigned char out[HASH_BYTES])
{
    crypto_generichash(out, HASH_BYTES, (const unsigned char *)token, strlen(token), NULL, 0);
}

#define HASH_PARAM(hash) DB_BYTES((const char *)(hash), HASH_BYTES)

enum err_code logins_add(struct db *db, const char *username, char ret_token[LOGIN_TOKEN_SIZE],
                         struct err *e)
{
    unsigned char bytes[32];
    unsigned char hash[HASH_BYTES];

    randombytes_buf(bytes, sizeof bytes);
    (void)sodium_bin2base64(ret_token, LOGIN_TOKEN_SIZE, bytes, sizeof bytes,
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    hash_of(ret_token, hash);
    return db_exec(db, &statements[ADD],
                   DB_ARGS(HASH_PARAM(hash), DB_TEXT(username), DB_INT(LOGIN_HOURS)), NULL, e);
}

enum err_code logins_find(struct db *db, const char *token, char ret_username[LOGIN_NAME_SIZE],
                          struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    unsigned char hash[HASH_BYTES];
    enum err_code rc;

    hash_of(token, hash);
    rc = db_query(db, &statements[FIND], DB_ARGS(HASH_PARAM(hash)), &rows, e);
    if (rc)
        return rc;
    if (db_rows(rows) == 0 ||
        !text_format(ret_username, LOGIN_NAME_SIZE, "%s", db_text(rows, 0, 0)))
        return err_set(e, ERR_NOT_FOUND, "nobody is logged in by this");
    return ERR_OK;
}

enum err_code logins_drop(struct db *db, const char *token, struct err *e)
{
    unsigned char hash[HASH_BYTES];

    hash_of(token, hash);
    return db_exec(db, &statements[DROP], DB_ARGS(HASH_PARAM(hash)), NULL, e);
}

enum err_code logins_prune(struct db *db, int max, int64_t *ret_count, struct err *e)
{
    return db_exec(db, &statements[PRUNE], DB_ARGS(DB_INT(max)), ret_count, e);
}
