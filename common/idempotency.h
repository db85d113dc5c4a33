/* SPDX-License-Identifier: MIT
 *
 * Answers that are given again to the same Idempotency-Key. The row of a key is written once,
 * complete, in the transaction of what it answers: a process that dies leaves both or none, and
 * nothing ever has to be taken over. While that transaction runs, the key is held by an advisory
 * lock of it, so that a second request learns at once that the first is still running; and should
 * both ever get past that, the primary key lets only one of them commit.
 */
#ifndef COMMON_IDEMPOTENCY_H
#define COMMON_IDEMPOTENCY_H

#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

enum {
    IDEMPOTENCY_KEY_MAX = 255,
    IDEMPOTENCY_LIFE_S = 72 * 3600, /* how long an answer is repeated at least */
};

/* One request that may come again. */
struct idempotent_request {
    int64_t user_id;
    const char *key; /* 1..IDEMPOTENCY_KEY_MAX printable ASCII characters */
    char fingerprint[32];
};

bool idempotency_key_is_good(const char *key);

/* SHA-256 over method, path and body. */
void idempotency_fingerprint(struct idempotent_request *request, const char *method,
                             const char *path, const char *body, size_t body_len);

enum idempotency_verdict {
    IDEMPOTENCY_NEW,      /* go on: the key is held until the end of the transaction */
    IDEMPOTENCY_REPEATED, /* *ret_answer is what was answered */
    IDEMPOTENCY_MISMATCH, /* the key belongs to another request */
    IDEMPOTENCY_RUNNING,  /* another transaction holds it */
};

/* All texts are owned; idempotent_answer_release() frees them. */
struct idempotent_answer {
    int status;
    char *location; /* or NULL */
    char *body;
};

void idempotent_answer_release(struct idempotent_answer *answer);

/* In an open transaction, before its first write. */
enum err_code idempotency_look(struct db *db, const struct idempotent_request *request,
                               enum idempotency_verdict *ret_verdict,
                               struct idempotent_answer *ret_answer, struct err *e) MUST_CHECK;

/* Keeps the answer, in the same transaction. ERR_CONFLICT: another was first; roll back and look
 * again. */
enum err_code idempotency_keep(struct db *db, const struct idempotent_request *request, int status,
                               const char *location, const char *body, struct err *e) MUST_CHECK;

/* Forgets at most `max` answers older than IDEMPOTENCY_LIFE_S; fewer: that was all. */
enum err_code idempotency_prune(struct db *db, int max, int64_t *ret_count,
                                struct err *e) MUST_CHECK;

#endif
