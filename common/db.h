/* SPDX-License-Identifier: MIT
 *
 * PostgreSQL, one connection a thread. Statements are constants of the store files, prepared on
 * first use, always with parameters, never spliced. A connection that is lost is replaced at the
 * next use outside a transaction; the statement that met the loss fails with ERR_UNAVAILABLE, since
 * only the caller knows whether it may run again. Every call ends within DB_DEADLINE_S, even if the
 * server is frozen.
 *
 *   static const struct db_stmt FIND = {"order_find", "SELECT id FROM orders WHERE id = $1", 1};
 *   AUTO(db_result_free) struct db_result *rows = NULL;
 *   rc = db_query(db, &FIND, DB_ARGS(DB_INT(id)), &rows, e);
 *
 * Transactions are closed by scope: what is not committed is rolled back.
 *
 *   AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
 *   rc = db_begin(db, &tx, e);
 *   ...
 *   return db_commit(&tx, e);
 */
#ifndef COMMON_DB_H
#define COMMON_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/err.h"

enum { DB_DEADLINE_S = 15 };

struct db;
struct db_result;

struct db_stmt {
    const char *name; /* unique in the tree; the name of the prepared statement */
    const char *sql;
    int params;
};

struct db_param {
    enum { DB_PARAM_TEXT, DB_PARAM_INT, DB_PARAM_BYTES } type;
    const char *text; /* NULL is SQL's NULL */
    int64_t num;
    size_t len;
};

struct db_args {
    const struct db_param *params;
    size_t count;
};

#define DB_TEXT(s) ((struct db_param){.type = DB_PARAM_TEXT, .text = (s)})
#define DB_INT(n) ((struct db_param){.type = DB_PARAM_INT, .num = (int64_t)(n)})
#define DB_BOOL(b) DB_TEXT((b) ? "t" : "f")
#define DB_NULL DB_TEXT(NULL)
/* Any bytes, for bytea. */
#define DB_BYTES(p, n) ((struct db_param){.type = DB_PARAM_BYTES, .text = (p), .len = (n)})

#define DB_ARGS(...)                                                                               \
    ((struct db_args){(const struct db_param[]){__VA_ARGS__},                                      \
                      sizeof((const struct db_param[]){__VA_ARGS__}) / sizeof(struct db_param)})
#define DB_NO_ARGS ((struct db_args){NULL, 0})

/* Does not connect yet: the first use does. `application` is shown in pg_stat_activity. With NULL
 * for the URL it never does, and every use fails with ERR_UNAVAILABLE at once. */
struct db *db_open(const char *url, const char *application);
void db_close(struct db *db);
AUTO_DEFINE(struct db *, db_close);

/* Connects when not connected. Waits at most 5 s, and 2 s at least; after a failure it refuses at
 * once for a moment, so that callers in a loop do not hammer the server. */
enum err_code db_connect(struct db *db, struct err *e) MUST_CHECK;
/* Another time limit of each statement than DB_DEADLINE_S. */
void db_set_deadline(struct db *db, int seconds);
/* When (monotonic) who uses it now has no more time, whatever the limit of each statement: what
 * begins later still gets a second, so that what is in order comes to its end, but no new session.
 */
void db_set_until(struct db *db, int64_t until_us);
/* More parameters for every session from the next one on, each as " -c name=value"; a constant. */
void db_set_options(struct db *db, const char *options);
bool db_is_connected(const struct db *db);
void db_disconnect(struct db *db);
int db_socket(const struct db *db); /* -1 when not connected */
/* What whoever answered says is the process that serves this session: a pooler makes one up. 0 when
 * not connected. */
int db_backend(const struct db *db);

/* Whether anybody asked something of this session that outlives statement and transaction: a SET, a
 * LISTEN, a temporary table, a script of several statements. Who shares the session with others
 * leaves it then, by db_disconnect(). What functions do (set_config(), pg_advisory_lock()) nobody
 * sees. */
bool db_session_is_changed(const struct db *db);

/* Asks the server for a sign of life, connecting when needed. */
enum err_code db_ping(struct db *db, struct err *e) MUST_CHECK;

/* Runs a statement; db_exec() is for those whose rows nobody wants and gives the number of rows
 * that it touched (ret_rows may be NULL). */
enum err_code db_query(struct db *db, const struct db_stmt *stmt, struct db_args args,
                       struct db_result **ret_rows, struct err *e) MUST_CHECK;
enum err_code db_exec(struct db *db, const struct db_stmt *stmt, struct db_args args,
                      int64_t *ret_rows, struct err *e) MUST_CHECK;

/* Within a transaction, for a statement whose rows nobody wants: it is sent with the next one, or
 * with the commit, in one way to the server and back, and its failure is told there. */
enum err_code db_exec_later(struct db *db, const struct db_stmt *stmt, struct db_args args,
                            struct err *e) MUST_CHECK;

/* Several statements at once, without parameters: migrations and LISTEN only. */
enum err_code db_run_script(struct db *db, const char *sql, struct err *e) MUST_CHECK;

/* What an SQLSTATE means for what happens next. Pure. */
enum err_code db_code_of(const char *state);

/* Name of the constraint that the last failed statement broke, or "". */
const char *db_constraint(const struct db *db);
/* SQLSTATE of the last failed statement, or "". */
const char *db_sqlstate(const struct db *db);
/* Name of the statement that the server refused last, or "": of several that went out together,
 * too. */
const char *db_refused(const struct db *db);

/* Whether the last statement failed only for what others did at the same moment (deadlock,
 * serialization failure): its transaction is undone, and may go through when made again from its
 * beginning. Whoever does that makes it DB_TRIES times. */
bool db_was_undone(const struct db *db);
enum { DB_TRIES = 5 };

struct db_tx {
    struct db *db; /* NULL when no transaction is open */
};

/* BEGIN itself goes to the server with the first statement, which is where the transaction, its
 * now() and its locks begin. */
enum err_code db_begin(struct db *db, struct db_tx *tx, struct err *e) MUST_CHECK;
/* ERR_UNAVAILABLE here means that the outcome is unknown: re-run what is safe to re-run. */
enum err_code db_commit(struct db_tx *tx, struct err *e) MUST_CHECK;
void db_rollback(struct db_tx *tx);
void db_tx_release(struct db_tx *tx);
bool db_in_transaction(const struct db *db);
/* The same, and whether one was begun whose session is lost: nothing else is sent until db_commit()
 * or db_rollback() has ended it. */
bool db_transaction_is_open(const struct db *db);
/* Whether a statement has failed in it, so that it can only be rolled back. */
bool db_transaction_is_broken(const struct db *db);

/* For trying something out: what follows on this connection happens inside one transaction, in
 * which others are savepoints, and so is a statement outside of these, until db_unnest() rolls all
 * of it back. A script that fails outside of an inner one spoils the rest. */
enum err_code db_nest(struct db *db, struct err *e) MUST_CHECK;
void db_unnest(struct db *db);

/* Waits until the server has notified this session (LISTEN) or something else is readable on
 * `other_fd` (-1: none), or the time is over. True when a notification came. */
enum err_code db_wait_notify(struct db *db, int other_fd, int64_t timeout_us, bool *ret_notified,
                             struct err *e) MUST_CHECK;

void db_result_free(struct db_result *rows);
AUTO_DEFINE(struct db_result *, db_result_free);
int db_rows(const struct db_result *rows);
int db_columns(const struct db_result *rows);
/* Column values; the text is borrowed from the result, "" for NULL. */
const char *db_text(const struct db_result *rows, int row, int col);
bool db_is_null(const struct db_result *rows, int row, int col);
int64_t db_int(const struct db_result *rows, int row, int col); /* 0 for NULL */
bool db_bool(const struct db_result *rows, int row, int col);

/* Builds array parameters for unnest($1::text[]): "{a,b}" with each element quoted; NULL is SQL's
 * NULL. For any type, as DB_TEXT(array.data). */
struct buf;
void db_array_add(struct buf *array, const char *element);
void db_array_add_int(struct buf *array, int64_t number);
void db_array_end(struct buf *array);
/* Fills up an array of `count` ids with zeros, as far as PostgreSQL's planner supposes that one
 * goes whose length it does not know. With fewer, a plan for each array would seem cheaper to it
 * than one for all, and be made each time. */
void db_array_fill(struct buf *array, size_t count);

/* The same in PostgreSQL's binary form, as DB_ARRAY(array), for statements that many jobs share: of
 * ids (uuid[]) and of numbers (integer[]). `count` elements must follow. */
struct uuid;
void db_ids_begin(struct buf *array, size_t count);
void db_ids_add(struct buf *array, const struct uuid *id);
void db_ints_begin(struct buf *array, size_t count);
void db_ints_add(struct buf *array, int32_t number);
#define DB_ARRAY(array) DB_BYTES((array).data, (array).len)

#endif
