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

enum err_code db_begin(struct db *db, struct db_tx *tx, struct err *e)
{
    enum err_code rc = db_connect(db, e);

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

enum err_code db_commit(struct db_tx *tx, struct err *e)
{
    struct db *db = tx->db;
    const char *command = db->nested ? "RELEASE inner_one" : "COMMIT";
    char tag[32];
    enum err_code rc;

    tx->db = NULL;
    db->tx_open = false;
    if (db->owes_begin) {
        db->owes_begin = false;
        return ERR_OK;
    }
    if (!db_in_transaction(db))
        return err_set(e, ERR_UNAVAILABLE, "the connection to the database was lost");
    rc = db_run_simple(db, command, "commit", tag, e);
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
