/* SPDX-License-Identifier: MIT
 *
 * Statements on the table idempotency_keys; see idempotency.h.
 */
#include "common/idempotency.h"

#include <string.h>

#include <sodium.h>

#include "common/mem.h"
#include "common/statements.h"

enum { LOOK, KEEP, PRUNE };

static const struct db_stmt statements[] = {
    [LOOK] =
        {"idempotency_look",
         "SELECT pg_try_advisory_xact_lock(hashtextextended($1::bigint || ' ' || $2::text, 0)),"
         " k.status, k.location, k.body, k.fingerprint = $3::bytea"
         " FROM (SELECT 1) one LEFT JOIN idempotency_keys k"
         " ON k.user_id = $1::bigint AND k.key = $2::text",
         3},
    [KEEP] = {"idempotency_keep",
              "INSERT INTO idempotency_keys (user_id, key, fingerprint, status, location, body)"
              " VALUES ($1, $2, $3::bytea, $4, $5, $6)",
              6},
    [PRUNE] = {"idempotency_prune",
               "DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(SELECT ctid"
               " FROM idempotency_keys WHERE created_at < now() - $2::bigint * interval '1 second'"
               " ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED))",
               2},
};

DB_STATEMENTS(idempotency, statements);

bool idempotency_key_is_good(const char *key)
{
    size_t len = strlen(key);

    for (size_t i = 0; i < len; i++)
        if (key[i] < 0x20 || key[i] > 0x7e)
            return false;
    return len >= 1 && len <= IDEMPOTENCY_KEY_MAX;
}

void idempotency_fingerprint(struct idempotent_request *request, const char *method,
                             const char *path, const char *body, size_t body_len)
{
    crypto_hash_sha256_state state;

    /* Each part with its NUL, so that no two requests run together. */
    (void)crypto_hash_sha256_init(&state);
    (void)crypto_hash_sha256_update(&state, (const unsigned char *)method, strlen(method) + 1);
    (void)crypto_hash_sha256_update(&state, (const unsigned char *)path, strlen(path) + 1);
    (void)crypto_hash_sha256_update(&state, (const unsigned char *)body, body_len);
    (void)crypto_hash_sha256_final(&state, (unsigned char *)request->fingerprint);
}

void idempotent_answer_release(struct idempotent_answer *answer)
{
    mem_free(answer->location);
    mem_free(answer->body);
    *answer = (struct idempotent_answer){0};
}

enum err_code idempotency_look(struct db *db, const struct idempotent_request *request,
                               enum idempotency_verdict *ret_verdict,
                               struct idempotent_answer *ret_answer, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(db, &statements[LOOK],
                 DB_ARGS(DB_INT(request->user_id), DB_TEXT(request->key),
                         DB_BYTES(request->fingerprint, sizeof request->fingerprint)),
                 &rows, e);

    if (rc)
        return rc;
    if (!db_is_null(rows, 0, 1)) {
        *ret_verdict = db_bool(rows, 0, 4) ? IDEMPOTENCY_REPEATED : IDEMPOTENCY_MISMATCH;
        *ret_answer = (struct idempotent_answer){
            .status = (int)db_int(rows, 0, 1),
            .location = db_is_null(rows, 0, 2) ? NULL : mem_dup(db_text(rows, 0, 2)),
            .body = mem_dup(db_text(rows, 0, 3)),
        };
        return ERR_OK;
    }
    *ret_verdict = db_bool(rows, 0, 0) ? IDEMPOTENCY_NEW : IDEMPOTENCY_RUNNING;
    return ERR_OK;
}

enum err_code idempotency_keep(struct db *db, const struct idempotent_request *request, int status,
                               const char *location, const char *body, struct err *e)
{
    return db_exec(db, &statements[KEEP],
                   DB_ARGS(DB_INT(request->user_id), DB_TEXT(request->key),
                           DB_BYTES(request->fingerprint, sizeof request->fingerprint),
                           DB_INT(status), DB_TEXT(location), DB_TEXT(body)),
                   NULL, e);
}

enum err_code idempotency_prune(struct db *db, int max, int64_t *ret_count, struct err *e)
{
    return db_exec(db, &statements[PRUNE], DB_ARGS(DB_INT(max), DB_INT(IDEMPOTENCY_LIFE_S)),
                   ret_count, e);
}
