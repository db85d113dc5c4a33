/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL driver; see db.h. libpq's blocking calls have no client-side time limit, so
 * statements are sent and awaited by poll() with a deadline; whoever misses it loses the
 * connection, because nobody knows what is still on its way. Not for sharing between threads.
 */
#include "common/db.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/db_private.h"
#include "common/text.h"

enum {
    DB_PARAMS_MAX = 32,
    DB_LAST_S = 1, /* for each statement past the end of db_set_until() */
};

enum err_code db_lost(struct db *db, struct err *e)
{
    enum err_code rc = err_set_detail(e, ERR_UNAVAILABLE, PQerrorMessage(db->conn),
                                      "the connection to the database was lost");

    db_disconnect(db);
    return rc;
}

static enum err_code fail(struct db *db, const PGresult *result, const char *what, struct err *e)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    enum err_code code;

    if (!state || PQstatus(db->conn) != CONNECTION_OK)
        return db_lost(db, e);
    code = db_code_of(state);
    (void)snprintf(db->sqlstate, sizeof db->sqlstate, "%s", state);
    (void)snprintf(db->constraint, sizeof db->constraint, "%s", constraint ? constraint : "");
    db->refused = what;
    (void)err_set_detail(e, code, PQresultErrorMessage(result), "the database refused \"%s\"%s",
                         what, db_advice(state));
    /* 57P01..03 end the session; a demoted primary must be left for the new one. */
    if (text_starts(state, "57P") || strcmp(state, "25006") == 0)
        db_disconnect(db);
    return code;
}

/* Sends what is buffered and reads until the next result is complete. */
static enum err_code await(struct db *db, int64_t deadline_us, struct err *e)
{
    for (;;) {
        int unsent = PQflush(db->conn);
        struct pollfd pfd = {.fd = PQsocket(db->conn), .events = POLLIN};
        int64_t left_us = deadline_us - clock_mono_us();

        if (unsent < 0)
            return db_lost(db, e);
        if (!unsent && !PQisBusy(db->conn))
            return ERR_OK;
        if (unsent)
            pfd.events |= POLLOUT;
        if (left_us <= 0) {
            db_disconnect(db);
            return err_set(e, ERR_TIMEOUT, "the database did not answer in time");
        }
        if (poll(&pfd, 1, (int)(left_us / US_PER_MS) + 1) < 0 && errno != EINTR)
            return db_lost(db, e);
        if ((pfd.revents & ~POLLOUT) && !PQconsumeInput(db->conn))
            return db_lost(db, e);
    }
}

/* Until when what is sent now is awaited. */
static int64_t deadline_of(const struct db *db)
{
    int64_t now_us = clock_mono_us();
    int64_t deadline_us = now_us + db->deadline_s * US_PER_S;

    if (!db->until_us || db->until_us >= deadline_us)
        return deadline_us;
    return db->until_us > now_us + DB_LAST_S * US_PER_S ? db->until_us
                                                        : now_us + DB_LAST_S * US_PER_S;
}

/* Takes all results of what was sent, and of a pipeline those up to its end; the first bad one, or
 * else the last, is returned. `what` names what was sent, of a pipeline each part. */
static enum err_code collect_each(struct db *db, const char *const *what, PGresult **ret_result,
                                  struct err *e)
{
    int64_t deadline_us = deadline_of(db);
    bool is_pipeline = PQpipelineStatus(db->conn) != PQ_PIPELINE_OFF;
    PGresult *kept = NULL;

    for (;;) {
        enum err_code rc = await(db, deadline_us, e);
        PGresult *next;
        bool bad;

        if (rc) {
            PQclear(kept);
            return rc;
        }
        next = PQgetResult(db->conn);
        if (!next && (!is_pipeline || PQstatus(db->conn) != CONNECTION_OK))
            break;
        if (PQresultStatus(next) == PGRES_PIPELINE_SYNC) {
            PQclear(next);
            break;
        }
        bad = !next || (kept && PQresultStatus(kept) == PGRES_FATAL_ERROR);
        if (is_pipeline && !bad && kept)
            what++;
        PQclear(bad ? next : kept);
        kept = bad ? kept : next;
    }
    if (!kept)
        return db_lost(db, e);
    if (PQresultStatus(kept) == PGRES_FATAL_ERROR) {
        enum err_code rc = fail(db, kept, *what, e);

        PQclear(kept);
        return rc;
    }
    *ret_result = kept;
    return ERR_OK;
}

static enum err_code collect(struct db *db, const char *what, PGresult **ret_result, struct err *e)
{
    return collect_each(db, &what, ret_result, e);
}

/* The slot of a statement, or the free one where it belongs. */
static const struct db_stmt **find_slot(struct db *db, const struct db_stmt *stmt)
{
    size_t at = ((uintptr_t)stmt / sizeof *stmt) % DB_PREPARED_MAX;

    for (size_t i = 0; i < DB_PREPARED_MAX; i++, at = (at + 1) % DB_PREPARED_MAX)
        if (!db->prepared[at] || db->prepared[at] == stmt)
            return &db->prepared[at];
    abort(); /* more statements than slots: our own mistake */
}

/* Each session meets a statement here before it runs it. */
static enum err_code prepare(struct db *db, const struct db_stmt *stmt, struct err *e)
{
    const struct db_stmt **slot = find_slot(db, stmt);
    PGresult *result = NULL;
    enum err_code rc;

    if (*slot == stmt)
        return ERR_OK;
    db_note_statement(db, stmt->sql);
    if (db->is_pooled)
        return ERR_OK;
    if (!PQsendPrepare(db->conn, stmt->name, stmt->sql, 0, NULL))
        return db_lost(db, e);
    rc = collect(db, stmt->name, &result, e);
    if (rc)
        return rc;
    PQclear(result);
    *slot = stmt;
    return ERR_OK;
}

static bool send_statement(struct db *db, const struct db_stmt *stmt, struct db_args args)
{
    const char *values[DB_PARAMS_MAX];
    int lengths[DB_PARAMS_MAX] = {0};
    int formats[DB_PARAMS_MAX] = {0};
    char numbers[DB_PARAMS_MAX][24];

    if (args.count != (size_t)stmt->params || args.count > DB_PARAMS_MAX)
        abort(); /* our own mistake */
    for (size_t i = 0; i < args.count; i++) {
        const struct db_param *param = &args.params[i];

        values[i] = param->text;
        if (param->type == DB_PARAM_INT) {
            (void)snprintf(numbers[i], sizeof numbers[i], "%" PRId64, param->num);
            values[i] = numbers[i];
        } else if (param->type == DB_PARAM_BYTES) {
            lengths[i] = (int)param->len;
            formats[i] = 1;
        }
    }
    if (db->is_pooled)
        return PQsendQueryParams(db->conn, stmt->sql, stmt->params, NULL, values, lengths, formats,
                                 0) == 1;
    return PQsendQueryPrepared(db->conn, stmt->name, stmt->params, values, lengths, formats, 0) ==
           1;
}

/* Within a transaction a lost connection must surface: on a new one the rest of it would be
 * committed without its beginning. */
static enum err_code connect_outside_transaction(struct db *db, struct err *e)
{
    if (!db->tx_open)
        return db_connect(db, e);
    if (db_in_transaction(db))
        return ERR_OK;
    return err_set(e, ERR_UNAVAILABLE, "the connection to the database was lost");
}

static bool send_together(struct db *db, const struct db_step *steps, size_t count)
{
    if (!PQenterPipelineMode(db->conn))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!send_statement(db, steps[i].stmt, steps[i].args))
            return false;
    return PQpipelineSync(db->conn) == 1;
}

enum err_code db_run_with_owed(struct db *db, const struct db_stmt *stmt, struct db_args args,
                               PGresult **ret_result, struct err *e)
{
    static const struct db_stmt begin = {"begin", "BEGIN", 0};
    struct db_step steps[DB_LATER_MAX + 2];
    const char *names[DB_LATER_MAX + 2] = {NULL};
    PGresult *result = NULL;
    size_t count = 0;
    enum err_code rc = ERR_OK;

    if (db->owes_begin)
        steps[count++] = (struct db_step){&begin, DB_NO_ARGS};
    for (size_t i = 0; i < db->later_count; i++)
        steps[count++] = db->later[i];
    steps[count++] = (struct db_step){stmt, args};
    for (size_t i = 0; !rc && i < count; i++) {
        names[i] = steps[i].stmt->name;
        rc = prepare(db, steps[i].stmt, e);
    }
    if (rc)
        return rc;
    if (!send_together(db, steps, count))
        return db_lost(db, e);
    db->owes_begin = false;
    db_drop_later(db);
    rc = collect_each(db, names, &result, e);
    if (db->conn && !PQexitPipelineMode(db->conn)) {
        PQclear(result);
        return db_lost(db, e);
    }
    if (!rc)
        *ret_result = result;
    return rc;
}

/* A primary that was told to let go of its place, and answers reads with what was: the others are
 * at the new one already, and who asks here for what they have written there is told that there is
 * no such thing. It says so with its next answer (PostgreSQL 14 on). */
static enum err_code leave_if_demoted(struct db *db, PGresult **result, struct err *e)
{
    if (!db->was_writable || db_is_writable(db))
        return ERR_OK;
    PQclear(*result);
    *result = NULL;
    db_disconnect(db);
    return err_set(e, ERR_UNAVAILABLE, "the database has become read-only");
}

static enum err_code run_one(struct db *db, const struct db_stmt *stmt, struct db_args args,
                             PGresult **ret_result, struct err *e)
{
    PGresult *result = NULL;
    enum err_code rc;

    if (args.count != (size_t)stmt->params)
        return err_set(e, ERR_INTERNAL, "parameters of the statement \"%s\": %d wanted, %zu given",
                       stmt->name, stmt->params, args.count);
    rc = connect_outside_transaction(db, e);
    if (!rc)
        rc = prepare(db, stmt, e);
    if (rc)
        return rc;
    if (db->owes_begin || db->later_count > 0)
        rc = db_run_with_owed(db, stmt, args, &result, e);
    else if (send_statement(db, stmt, args))
        rc = collect(db, stmt->name, &result, e);
    else
        rc = db_lost(db, e);
    if (!rc)
        rc = leave_if_demoted(db, &result, e);
    if (!rc)
        *ret_result = result;
    return rc;
}

/* In db_nest() a statement outside of a transaction stands or falls by itself, as it does without.
 */
static enum err_code run(struct db *db, const struct db_stmt *stmt, struct db_args args,
                         PGresult **ret_result, struct err *e)
{
    bool is_alone = db->nested && !db->tx_open && db_in_transaction(db);
    enum err_code rc = ERR_OK;

    db->constraint[0] = '\0';
    db->sqlstate[0] = '\0';
    if (is_alone)
        rc = db_run_simple(db, "SAVEPOINT alone", "begin", NULL, e);
    if (!rc)
        rc = run_one(db, stmt, args, ret_result, e);
    if (is_alone && db_in_transaction(db))
        (void)!db_run_simple(db, rc ? "ROLLBACK TO alone; RELEASE alone" : "RELEASE alone", "end",
                             NULL, NULL);
    return rc;
}

enum err_code db_query(struct db *db, const struct db_stmt *stmt, struct db_args args,
                       struct db_result **ret_rows, struct err *e)
{
    PGresult *result = NULL;
    enum err_code rc = run(db, stmt, args, &result, e);

    if (!rc)
        *ret_rows = (struct db_result *)result;
    return rc;
}

enum err_code db_exec(struct db *db, const struct db_stmt *stmt, struct db_args args,
                      int64_t *ret_rows, struct err *e)
{
    PGresult *result = NULL;
    enum err_code rc = run(db, stmt, args, &result, e);
    int64_t touched = 0;

    if (rc)
        return rc;
    if (*PQcmdTuples(result))
        (void)text_to_int(PQcmdTuples(result), 0, INT64_MAX, &touched);
    if (ret_rows)
        *ret_rows = touched;
    PQclear(result);
    return ERR_OK;
}

enum err_code db_run_simple(struct db *db, const char *sql, const char *what, char *ret_tag,
                            struct err *e)
{
    PGresult *result = NULL;
    enum err_code rc;

    if (!PQsendQuery(db->conn, sql))
        return db_lost(db, e);
    rc = collect(db, what, &result, e);
    if (rc)
        return rc;
    if (ret_tag)
        text_copy(ret_tag, DB_TAG_SIZE, PQcmdStatus(result));
    PQclear(result);
    return ERR_OK;
}

enum err_code db_run_script(struct db *db, const char *sql, struct err *e)
{
    static const struct db_stmt nothing = {"nothing", "SELECT", 0};
    enum err_code rc = connect_outside_transaction(db, e);

    if (!rc && db->later_count > 0)
        rc = db_exec(db, &nothing, DB_NO_ARGS, NULL, e);
    if (!rc)
        rc = db_begin_now(db, e);
    if (rc)
        return rc;
    db_note_statement(db, sql);
    return db_run_simple(db, sql, "script", NULL, e);
}

enum err_code db_ping(struct db *db, struct err *e) { return db_run_script(db, "SELECT 1", e); }

const char *db_constraint(const struct db *db) { return db->constraint; }

const char *db_sqlstate(const struct db *db) { return db->sqlstate; }

const char *db_refused(const struct db *db) { return db->refused ? db->refused : ""; }

bool db_was_undone(const struct db *db)
{
    return strcmp(db->sqlstate, "40P01") == 0 || strcmp(db->sqlstate, "40001") == 0;
}
