/* SPDX-License-Identifier: MIT
 *
 * Transactions on a connection; see db.h. BEGIN is not sent by itself: the first statement takes it
 * along (db.c). Until then there is nothing to commit, to roll back or to lose.
 */
#include <string.h>

#include "common/db_private.h"
#include "common/mem.h"
#include "common/text.h"

bool db_in_transaction(const struct db *db)
{
    PGTransactionStatusType status = db->conn ? PQtransactionStatus(db->conn) : PQTRANS_IDLE;

    return db->owes_begin || status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

bool db_transaction_is_open(const struct db *db)
{
    return db->tx_open || (!db->nested && db_in_transaction(db));
}

bool db_transaction_is_broken(const struct db *db)
{
    return db->conn && PQtransactionStatus(db->conn) == PQTRANS_INERROR;
}

enum err_code db_begin(struct db *db, struct db_tx *tx, struct err *e)
{
    enum err_code rc = db_connect(db, e);

    db->sqlstate[0] = '\0';
    if (!rc && db->nested)
        rc = db_run_simple(db, "SAVEPOINT inner_one", "begin", NULL, e);
    if (!rc) {
        tx->db = db;
        db->tx_open = true;
        db->owes_begin = !db->nested;
    }
    return rc;
}

enum err_code db_begin_now(struct db *db, struct err *e)
{
    if (!db->owes_begin)
        return ERR_OK;
    db->owes_begin = false;
    return db_run_simple(db, "BEGIN", "begin", NULL, e);
}

/* ---- what is sent later ---- */

static void step_release(struct db_step *step)
{
    for (size_t i = 0; i < step->args.count; i++)
        mem_free((char *)(uintptr_t)step->args.params[i].text);
    mem_free((struct db_param *)(uintptr_t)step->args.params);
    *step = (struct db_step){0};
}

void db_drop_later(struct db *db)
{
    for (size_t i = 0; i < db->later_count; i++)
        step_release(&db->later[i]);
    db->later_count = 0;
}

static struct db_step copy_step(const struct db_stmt *stmt, struct db_args args)
{
    struct db_param *params = mem_array(args.count, sizeof *params);

    for (size_t i = 0; i < args.count; i++) {
        params[i] = args.params[i];
        if (params[i].type == DB_PARAM_BYTES && params[i].text)
            params[i].text = mem_dup_n(params[i].text, params[i].len);
        else
            params[i].text = mem_dup(params[i].text);
    }
    return (struct db_step){stmt, {params, args.count}};
}

enum err_code db_exec_later(struct db *db, const struct db_stmt *stmt, struct db_args args,
                            struct err *e)
{
    if (!db->tx_open || db->nested || db->later_count == DB_LATER_MAX)
        return db_exec(db, stmt, args, NULL, e);
    if (!db_in_transaction(db))
        return err_set(e, ERR_UNAVAILABLE, "the connection to the database was lost");
    db->later[db->later_count++] = copy_step(stmt, args);
    return ERR_OK;
}

/* The commit behind what was to be sent later; where that fails nothing else ends the transaction.
 */
static enum err_code commit_with_later(struct db *db, char *ret_tag, struct err *e)
{
    static const struct db_stmt commit = {"commit", "COMMIT", 0};
    PGresult *result = NULL;
    enum err_code rc;

    db->constraint[0] = '\0';
    db->sqlstate[0] = '\0';
    rc = db_run_with_owed(db, &commit, DB_NO_ARGS, &result, e);
    if (rc) {
        db_rollback(&(struct db_tx){.db = db});
        return rc;
    }
    text_copy(ret_tag, DB_TAG_SIZE, PQcmdStatus(result));
    PQclear(result);
    return ERR_OK;
}

enum err_code db_commit(struct db_tx *tx, struct err *e)
{
    struct db *db = tx->db;
    const char *command = db->nested ? "RELEASE inner_one" : "COMMIT";
    char tag[DB_TAG_SIZE];
    enum err_code rc;

    tx->db = NULL;
    db->tx_open = false;
    if (db->owes_begin && db->later_count == 0) {
        db->owes_begin = false;
        return ERR_OK;
    }
    if (!db_in_transaction(db))
        return err_set(e, ERR_UNAVAILABLE, "the connection to the database was lost");
    rc = db->later_count > 0 ? commit_with_later(db, tag, e)
                             : db_run_simple(db, command, "commit", tag, e);
    /* COMMIT of a failed transaction succeeds, with the tag ROLLBACK. */
    if (!rc && !text_starts(command, tag))
        rc = err_set(e, ERR_INTERNAL, "the transaction had failed before its commit");
    return rc;
}

static const char *rollback_of(const struct db *db)
{
    return db->nested ? "ROLLBACK TO inner_one; RELEASE inner_one" : "ROLLBACK";
}

void db_rollback(struct db_tx *tx)
{
    struct db *db = TAKE(tx->db);

    if (!db)
        return;
    db->tx_open = false;
    db_drop_later(db);
    if (db->owes_begin)
        db->owes_begin = false;
    else if (db_in_transaction(db) && db_run_simple(db, rollback_of(db), "rollback", NULL, NULL))
        db_disconnect(db);
}

void db_tx_release(struct db_tx *tx) { db_rollback(tx); }

enum err_code db_nest(struct db *db, struct err *e)
{
    struct db_tx outer = {0};
    enum err_code rc = db_begin(db, &outer, e);

    if (!rc)
        rc = db_begin_now(db, e);
    db->nested = !rc;
    db->tx_open = false;
    return rc;
}

void db_unnest(struct db *db)
{
    db->nested = false;
    db_rollback(&(struct db_tx){.db = db});
}
