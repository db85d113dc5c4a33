/* SPDX-License-Identifier: MIT
 *
 * Statements on the table refresh_tokens; see sessions.h.
 */
#include "common/sessions.h"

#include <inttypes.h>
#include <string.h>

#include <sodium.h>

#include "common/clock.h"
#include "common/statements.h"

/* A session ends so long after its login, however often it is refreshed. */
#define LONGEST "interval '30 days'"
/* One at a time makes or ends sessions of a user. Whoever ends a family sees only the tokens that
 * are there, and not the one that a refresh is just about to commit, whatever rows both lock; so
 * each takes this before the statement that looks, and holds it to its end. */
#define ONE_AT_A_TIME(user) "pg_advisory_xact_lock(hashtextextended('till sessions', " user "))"
/* So long a token may be used again: the answer was lost, or two tabs asked at once. */
#define GRACE "interval '10 seconds'"

enum { START, ENTER, ENTER_ALL, LOCK, MAY_REPEAT, USE, FOLLOW, REVOKE, REVOKE_ALL, PRUNE };

static const struct db_stmt statements[] = {
    [START] = {"sessions_start",
               "INSERT INTO refresh_tokens (jti_hash, family, user_id, expires_at)"
               " VALUES ($1::bytea, $2, $3, $4)",
               4},
    [ENTER] = {"sessions_enter",
               "SELECT " ONE_AT_A_TIME("user_id") " FROM refresh_tokens WHERE jti_hash = $1::bytea",
               1},
    [ENTER_ALL] = {"sessions_enter_all", "SELECT " ONE_AT_A_TIME("$1::bigint"), 1},
    [LOCK] = {"sessions_lock",
              "SELECT t.used_at IS NOT NULL, t.revoked_at IS NULL AND u.is_active"
              " AND least(t.expires_at, t.began_at + " LONGEST ") > now()"
              " FROM refresh_tokens t JOIN users u ON u.id = t.user_id"
              " WHERE t.jti_hash = $1::bytea FOR UPDATE OF t",
              1},
    /* A statement of its own: who waited for the lock sees by it what the other has made. */
    [MAY_REPEAT] = {"sessions_may_repeat",
                    "SELECT t.used_at > now() - " GRACE " AND coalesce((SELECT"
                    " bool_and(n.used_at IS NULL) FROM refresh_tokens n"
                    " WHERE n.family = t.family AND n.parent = t.jti_hash), false)"
                    " FROM refresh_tokens t WHERE t.jti_hash = $1::bytea",
                    1},
    [USE] = {"sessions_use", "UPDATE refresh_tokens SET used_at = now() WHERE jti_hash = $1::bytea",
             1},
    [FOLLOW] = {"sessions_follow",
                "INSERT INTO refresh_tokens"
                " (jti_hash, family, user_id, expires_at, began_at, parent)"
                " SELECT $2::bytea, family, user_id,"
                " least($3::timestamptz, began_at + " LONGEST "), began_at, jti_hash"
                " FROM refresh_tokens WHERE jti_hash = $1::bytea",
                3},
    [REVOKE] = {"sessions_revoke",
                "UPDATE refresh_tokens SET revoked_at = now() WHERE revoked_at IS NULL AND family ="
                " (SELECT family FROM refresh_tokens WHERE jti_hash = $1::bytea)",
                1},
    [REVOKE_ALL] = {"sessions_revoke_all",
                    "WITH ended AS (UPDATE refresh_tokens SET revoked_at = now()"
                    " WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now() RETURNING 1)"
                    " SELECT (SELECT count(*) FROM ended) FROM users WHERE id = $1",
                    1},
    [PRUNE] = {"sessions_prune",
               "DELETE FROM refresh_tokens WHERE jti_hash = ANY (ARRAY(SELECT jti_hash"
               " FROM refresh_tokens WHERE expires_at <= now() ORDER BY expires_at LIMIT $1"
               " FOR UPDATE SKIP LOCKED))",
               1},
};

DB_STATEMENTS(sessions, statements);

struct hash {
    char bytes[crypto_hash_sha256_BYTES];
};

static struct hash hash_of(const struct uuid *jti)
{
    struct hash hash;

    (void)crypto_hash_sha256((unsigned char *)hash.bytes, (const unsigned char *)jti->text,
                             strlen(jti->text));
    return hash;
}

static enum err_code run_with_hash(struct db *db, const struct db_stmt *stmt,
                                   const struct uuid *jti, struct err *e)
{
    struct hash hash = hash_of(jti);

    return db_exec(db, stmt, DB_ARGS(DB_BYTES(hash.bytes, sizeof hash.bytes)), NULL, e);
}

enum err_code sessions_start(struct db *db, int64_t user_id, const struct uuid *jti,
                             int64_t expires_us, struct err *e)
{
    struct hash hash = hash_of(jti);
    struct uuid family = uuid_v4();
    char expires[CLOCK_TEXT_SIZE];

    clock_format(expires_us, expires);
    return db_exec(db, &statements[START],
                   DB_ARGS(DB_BYTES(hash.bytes, sizeof hash.bytes), DB_TEXT(family.text),
                           DB_INT(user_id), DB_TEXT(expires)),
                   NULL, e);
}

static enum err_code follow(struct db *db, const struct uuid *jti, const struct uuid *next,
                            int64_t next_expires_us, struct err *e)
{
    struct hash hash = hash_of(jti);
    struct hash next_hash = hash_of(next);
    char expires[CLOCK_TEXT_SIZE];

    clock_format(next_expires_us, expires);
    return db_exec(db, &statements[FOLLOW],
                   DB_ARGS(DB_BYTES(hash.bytes, sizeof hash.bytes),
                           DB_BYTES(next_hash.bytes, sizeof next_hash.bytes), DB_TEXT(expires)),
                   NULL, e);
}

static enum err_code look_may_repeat(struct db *db, const struct uuid *jti, bool *ret_may,
                                     struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct hash hash = hash_of(jti);
    enum err_code rc = db_query(db, &statements[MAY_REPEAT],
                                DB_ARGS(DB_BYTES(hash.bytes, sizeof hash.bytes)), &rows, e);

    if (!rc)
        *ret_may = db_rows(rows) > 0 && db_bool(rows, 0, 0);
    return rc;
}

/* Ends the family of a token that two hold; what was done so far is kept. */
static enum err_code end_reused(struct db *db, struct db_tx *tx, const struct uuid *jti,
                                struct err *e)
{
    enum err_code rc = run_with_hash(db, &statements[REVOKE], jti, e);

    if (!rc)
        rc = db_commit(tx, e);
    return rc ? rc : err_set(e, ERR_DENIED, "the token was used before: the session is over");
}

enum err_code sessions_rotate(struct db *db, const struct uuid *jti, const struct uuid *next,
                              int64_t next_expires_us, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    struct hash hash = hash_of(jti);
    bool may_repeat = false;
    enum err_code rc = db_begin(db, &tx, e);

    if (!rc)
        rc = run_with_hash(db, &statements[ENTER], jti, e);
    if (!rc)
        rc = db_query(db, &statements[LOCK], DB_ARGS(DB_BYTES(hash.bytes, sizeof hash.bytes)),
                      &rows, e);
    if (rc)
        return rc;
    if (db_rows(rows) == 0 || !db_bool(rows, 0, 1))
        return err_set(e, ERR_DENIED, "the session is over");
    if (db_bool(rows, 0, 0))
        rc = look_may_repeat(db, jti, &may_repeat, e);
    else
        rc = run_with_hash(db, &statements[USE], jti, e);
    if (!rc && db_bool(rows, 0, 0) && !may_repeat)
        return end_reused(db, &tx, jti, e);
    if (!rc)
        rc = follow(db, jti, next, next_expires_us, e);
    return rc ? rc : db_commit(&tx, e);
}

enum err_code sessions_end(struct db *db, const struct uuid *jti, struct err *e)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    enum err_code rc = db_begin(db, &tx, e);

    if (!rc)
        rc = run_with_hash(db, &statements[ENTER], jti, e);
    if (!rc)
        rc = run_with_hash(db, &statements[REVOKE], jti, e);
    return rc ? rc : db_commit(&tx, e);
}

enum err_code sessions_end_all(struct db *db, int64_t user_id, int64_t *ret_ended, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_exec(db, &statements[ENTER_ALL], DB_ARGS(DB_INT(user_id)), NULL, e);

    if (!rc)
        rc = db_query(db, &statements[REVOKE_ALL], DB_ARGS(DB_INT(user_id)), &rows, e);
    if (rc)
        return rc;
    if (db_rows(rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no user %" PRId64, user_id);
    *ret_ended = db_int(rows, 0, 0);
    return ERR_OK;
}

enum err_code sessions_prune(struct db *db, int max, int64_t *ret_count, struct err *e)
{
    return db_exec(db, &statements[PRUNE], DB_ARGS(DB_INT(max)), ret_count, e);
}
