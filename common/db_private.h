/* SPDX-License-Identifier: MIT
 *
 * What db.c and db_tx.c share of a connection, and nobody else.
 */
#ifndef COMMON_DB_PRIVATE_H
#define COMMON_DB_PRIVATE_H

#include <libpq-fe.h>

#include "common/db.h"

enum {
    DB_PREPARED_MAX = 256, /* slots of the table of prepared statements */
    DB_LATER_MAX = 4,      /* statements that wait for the next one */
    DB_TAG_SIZE = 32,
};

/* A statement among others that go to the server together. */
struct db_step {
    const struct db_stmt *stmt;
    struct db_args args;
};

struct db {
    PGconn *conn; /* NULL when not connected */
    char *url;
    char *application;
    const char *options;                             /* more of them, or "" */
    const struct db_stmt *prepared[DB_PREPARED_MAX]; /* open addressing, by address */
    bool is_pooled;                                  /* none is prepared */
    char constraint[64];
    char sqlstate[6];
    const char *refused; /* what the server refused last, a literal; NULL: nothing yet */
    bool was_writable;   /* when it was connected */
    bool is_changed;     /* db_session_is_changed() */
    bool nested;         /* db_nest(): transactions are savepoints */
    bool tx_open;    /* between db_begin() and the end of its transaction, with or without server */
    bool owes_begin; /* db_begin() was called, and BEGIN goes out with the first statement */
    struct db_step later[DB_LATER_MAX]; /* owned: of db_exec_later(), in their order */
    size_t later_count;
    int deadline_s;
    int64_t until_us; /* db_set_until(); 0: as long as each statement may take */
    int backoff_ms;
    int64_t retry_at_us; /* monotonic; no attempt to connect before */
};

/* What the reader of a refusal can do about it, where one thing explains it; else "". */
const char *db_advice(const char *state);
/* Whether whoever is connected to says that it may be written to: a standby does not. */
bool db_is_writable(const struct db *db);
/* Disconnects; ERR_UNAVAILABLE. */
enum err_code db_lost(struct db *db, struct err *e) MUST_CHECK;
/* One command of the simple protocol; `ret_tag` (DB_TAG_SIZE, may be NULL) gets its tag. */
enum err_code db_run_simple(struct db *db, const char *sql, const char *what, char *ret_tag,
                            struct err *e) MUST_CHECK;
/* A statement behind what the transaction owes the server (BEGIN, what was to be sent later), all
 * in one way there and back. What stands behind one that fails is not run; that one's error, or
 * else the result of the statement. */
enum err_code db_run_with_owed(struct db *db, const struct db_stmt *stmt, struct db_args args,
                               PGresult **ret_result, struct err *e) MUST_CHECK;
/* Notes whether the session is another one after it. Each session meets a statement here once. */
void db_note_statement(struct db *db, const char *sql);
/* What was to be sent later never is. */
void db_drop_later(struct db *db);
/* BEGIN, when db_begin() has left it to the first statement and that is none of ours. */
enum err_code db_begin_now(struct db *db, struct err *e) MUST_CHECK;

#endif
