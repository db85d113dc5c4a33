/* SPDX-License-Identifier: MIT
 *
 * Opening and closing connections to PostgreSQL; see db.h. A server that is away is not hammered:
 * after a failure everybody waits a little longer, each another while.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/db_private.h"
#include "common/mem.h"

enum {
    DB_BACKOFF_FIRST_MS = 50,
    DB_BACKOFF_MAX_MS = 2000,
    DB_CONNECT_S = 5,
};

struct db *db_open(const char *url, const char *application)
{
    struct db *db = mem_alloc(sizeof *db);

    db->url = mem_dup(url);
    db->application = mem_dup(application);
    db->options = "";
    db->deadline_s = DB_DEADLINE_S;
    return db;
}

void db_set_deadline(struct db *db, int seconds) { db->deadline_s = seconds; }

void db_set_until(struct db *db, int64_t until_us) { db->until_us = until_us; }

void db_set_options(struct db *db, const char *options) { db->options = options; }

void db_disconnect(struct db *db)
{
    if (db->conn)
        PQfinish(db->conn);
    db->conn = NULL;
    db->owes_begin = false;
    db->is_changed = false;
    db_drop_later(db);
    memset(db->prepared, 0, sizeof db->prepared);
}

void db_close(struct db *db)
{
    if (!db)
        return;
    db_disconnect(db);
    mem_wipe_free(db->url);
    mem_free(db->application);
    mem_free(db);
}

bool db_is_connected(const struct db *db)
{
    return db->conn && PQstatus(db->conn) == CONNECTION_OK;
}

int db_socket(const struct db *db) { return db->conn ? PQsocket(db->conn) : -1; }

int db_backend(const struct db *db) { return db->conn ? PQbackendPID(db->conn) : 0; }

static void note_failed_connect(struct db *db)
{
    db->backoff_ms = db->backoff_ms ? db->backoff_ms * 2 : DB_BACKOFF_FIRST_MS;
    if (db->backoff_ms > DB_BACKOFF_MAX_MS)
        db->backoff_ms = DB_BACKOFF_MAX_MS;
    /* Half of it at random, so that a restarted server does not meet everybody at once. */
    db->retry_at_us =
        clock_mono_us() +
        (db->backoff_ms / 2 + (int64_t)randombytes_uniform((uint32_t)db->backoff_ms / 2 + 1)) *
            US_PER_MS;
}

static void ignore_notice(void *unused, const char *message)
{
    (void)unused;
    (void)message; /* libpq would print it to stderr, between our JSON lines */
}

bool db_is_writable(const struct db *db)
{
    const char *read_only = PQparameterStatus(db->conn, "default_transaction_read_only");

    return !read_only || strcmp(read_only, "off") == 0;
}

/* A pooler names a process that it made up. Each of its transactions may meet another session,
 * which knows nothing of what we prepared, or another program's text by that name; and it passes on
 * nothing of what we ask of a session when we connect. */
static enum err_code look_for_pooler(struct db *db, struct err *e)
{
    const char *zone = PQparameterStatus(db->conn, "TimeZone");
    char sql[64];
    char tag[DB_TAG_SIZE];
    enum err_code rc;

    (void)snprintf(sql, sizeof sql, "SELECT WHERE pg_backend_pid() = %d", db_backend(db));
    rc = db_run_simple(db, sql, "connect", tag, e);
    if (!rc && zone && strcmp(zone, "UTC") != 0) /* SQL_TIME would tell another hour */
        rc = err_set(e, ERR_UNAVAILABLE,
                     "the session is not in UTC: behind a pooler, ALTER ROLE ... SET timezone");
    if (rc)
        db_disconnect(db);
    else
        db->is_pooled = strcmp(tag, "SELECT 1") != 0;
    return rc;
}

/* Seconds that a new session may take; none is left: 0. libpq waits no less than two. */
static int connect_seconds(const struct db *db)
{
    int64_t left_us = db->until_us - clock_mono_us();

    if (!db->until_us || left_us > DB_CONNECT_S * US_PER_S)
        return DB_CONNECT_S;
    return left_us > 0 ? (int)((left_us + US_PER_S - 1) / US_PER_S) : 0;
}

enum err_code db_connect(struct db *db, struct err *e)
{
    /* The URL comes first, so that it may override what is before it and not what is after. */
    const char *const keys[] = {"dbname",
                                "application_name",
                                "connect_timeout",
                                "keepalives_idle",
                                "keepalives_interval",
                                "keepalives_count",
                                "tcp_user_timeout",
                                "client_encoding",
                                "options",
                                NULL};
    /* The server, too, must notice that we are gone with our machine: an idle session would else
     * hold its place among max_connections for hours. No statement of ours is worth compiling:
     * where an estimate is far off that takes seconds, for rows that are found in milliseconds. */
    static const char common[] =
        "-c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s "
        "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 "
        "-c tcp_user_timeout=10s -c timezone=UTC -c datestyle=ISO -c jit=off";
    char options[512];
    char seconds[12];
    int within_s = connect_seconds(db);
    const char *const values[] = {db->url, db->application, seconds, "10",    "5",
                                  "3",     "10000",         "UTF8",  options, NULL};

    if (db_is_connected(db))
        return ERR_OK;
    db_disconnect(db);
    if (!db->url || within_s == 0 || clock_mono_us() < db->retry_at_us)
        return err_set(e, ERR_UNAVAILABLE, "the database is not reachable");
    if (!*db->url)
        return err_set(
            e, ERR_INVALID,
            "setting DATABASE_URL is missing: set it in the environment, or in a file that "
            "--config names");
    if (!text_format(options, sizeof options, "%s%s", common, db->options))
        return err_set(e, ERR_INTERNAL, "the options of a session are too long");
    (void)snprintf(seconds, sizeof seconds, "%d", within_s);
    db->conn = PQconnectdbParams(keys, values, 1);
    if (!db->conn)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (PQstatus(db->conn) != CONNECTION_OK) {
        enum err_code rc = err_set_detail(e, ERR_UNAVAILABLE, PQerrorMessage(db->conn),
                                          "the database is not reachable");

        db_disconnect(db);
        note_failed_connect(db);
        return rc;
    }
    PQsetnonblocking(db->conn, 1);
    (void)PQsetNoticeProcessor(db->conn, ignore_notice, NULL);
    db->was_writable = db_is_writable(db);
    db->backoff_ms = 0;
    db->retry_at_us = 0;
    return look_for_pooler(db, e);
}
