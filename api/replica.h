/* SPDX-License-Identifier: MIT
 *
 * Reading from the replica of DATABASE_REPLICA_URL, where a read may lag. A handler that reads from
 * api_reader(req) is run by one of the calls below: on the replica when that is good enough for
 * this request, else on the primary; and on the primary too when the replica gives an error.
 *
 * Good enough is a replica that follows its primary, has every write of the user who asks, and has
 * all that the primary had TILL_REPLICA_LAG_MS ago. Without the setting everything is the
 * primary's.
 */
#ifndef API_REPLICA_H
#define API_REPLICA_H

#include <stdbool.h>
#include <stdint.h>

#include "api/http.h"
#include "common/conf.h"
#include "common/db.h"
#include "common/err.h"

struct backends;

/* Around backends_init() and server_stop(): a thread that asks a lost replica whether it is back.
 */
void replica_start(const struct conf *conf);
void replica_stop(void);

/* Whether the replica is used at the moment, for the figures. */
bool replica_is_up(void);

/* One more connection, if a replica is set. */
void replica_open(struct backends *backends);
void replica_close(struct backends *backends);

/* Runs the handler of a GET that may lag. */
enum err_code replica_serve(struct request *req, struct reply *reply, http_handler *handler,
                            struct err *e) MUST_CHECK;

/* Runs the handler where everything is that the primary had at `position` (not 0) of its log. */
enum err_code replica_serve_at(struct request *req, struct reply *reply, int64_t position,
                               http_handler *handler, struct err *e) MUST_CHECK;

/* Around one write of the user who asks: with a replica, a transaction in which the write is
 * counted; else nothing. The transaction is rolled back by its scope, as any. */
enum err_code replica_begin_write(const struct request *req, struct db_tx *tx,
                                  struct err *e) MUST_CHECK;
enum err_code replica_end_write(const struct request *req, struct db_tx *tx,
                                struct err *e) MUST_CHECK;
/* The same for a transaction that there is anyhow: called last before its commit. */
enum err_code replica_note_write(const struct request *req, struct err *e) MUST_CHECK;

#endif
