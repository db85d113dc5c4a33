/* SPDX-License-Identifier: MIT
 *
 * Refresh tokens: which may still be used. A token is known by its jti, of which only the hash is
 * stored. Each use replaces it by the next of its family; a use of one that was used before tells
 * that two hold it, and ends the family. Not so within 10 s, as long as nothing that came of it was
 * used: then an answer was lost or two tabs asked at once, and it gets one more in its place. 30
 * days after the login the family ends in any case.
 */
#ifndef COMMON_SESSIONS_H
#define COMMON_SESSIONS_H

#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/uuid.h"

enum err_code sessions_start(struct db *db, int64_t user_id, const struct uuid *jti,
                             int64_t expires_us, struct err *e) MUST_CHECK;

/* Uses `jti` and puts `next` in its place. ERR_DENIED: unknown, over, revoked, used before (but for
 * the 10 s), or of a user who is not active any more. */
enum err_code sessions_rotate(struct db *db, const struct uuid *jti, const struct uuid *next,
                              int64_t next_expires_us, struct err *e) MUST_CHECK;

/* Ends the family of `jti`; one that is not known is ended already. */
enum err_code sessions_end(struct db *db, const struct uuid *jti, struct err *e) MUST_CHECK;

/* Ends all of a user, in the caller's transaction. ERR_NOT_FOUND: there is no such user. */
enum err_code sessions_end_all(struct db *db, int64_t user_id, int64_t *ret_ended,
                               struct err *e) MUST_CHECK;

/* Forgets at most `max` tokens that have expired; fewer: that was all. */
enum err_code sessions_prune(struct db *db, int max, int64_t *ret_count, struct err *e) MUST_CHECK;

#endif
