/* SPDX-License-Identifier: MIT
 *
 * Applying migrations; see migrate.h. An advisory lock of the session keeps others out; PostgreSQL
 * drops it with the session, so a killed `till migrate` blocks nobody.
 */
#include "common/migrate.h"

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "common/clock.h"
#include "common/embed.h"
#include "common/statements.h"
#include "common/text.h"

enum { FIND, RECORD, COUNT_APPLIED };
enum { CHECKSUM_HEX = 65, MIGRATE_DEADLINE_S = 3600 };

/* Shorter than the second after which PostgreSQL looks for deadlocks: who checks out meanwhile may
 * have the tables in another order, and is not to pay for it. */
#define LOCK_TIMEOUT "SET LOCAL lock_timeout = 500"

static const struct db_stmt statements[] = {
    [FIND] = {"migrate_find", "SELECT checksum FROM schema_migrations WHERE name = $1", 1},
    [RECORD] = {"migrate_record", "INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)",
                2},
    [COUNT_APPLIED] = {"migrate_count", "SELECT count(*) FROM schema_migrations", 0},
};

DB_STATEMENTS(migrate, statements);

/* "0001_shop.sql": four digits and an underscore. */
static bool is_migration(const struct embedded_file *file)
{
    return strspn(file->name, "0123456789") == 4 && file->name[4] == '_';
}

static void checksum(const struct embedded_file *file, char out[CHECKSUM_HEX])
{
    unsigned char hash[32];

    (void)crypto_generichash(hash, sizeof hash, (const unsigned char *)file->data,
                             (unsigned long long)(file->end - file->data), NULL, 0);
    (void)sodium_bin2hex(out, CHECKSUM_HEX, hash, sizeof hash);
}

static int64_t count_migrations(void)
{
    int64_t count = 0;

    for (const struct embedded_file *file = sql_files; file->name; file++)
        count += is_migration(file);
    return count;
}

/* Whether a migration stands in the table already; one that was changed since is an error. */
static enum err_code is_applied(struct db *db, const struct embedded_file *file, bool *ret_applied,
                                struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    char sum[CHECKSUM_HEX];
    enum err_code rc = db_query(db, &statements[FIND], DB_ARGS(DB_TEXT(file->name)), &rows, e);

    if (rc)
        return rc;
    *ret_applied = db_rows(rows) > 0;
    checksum(file, sum);
    if (*ret_applied && strcmp(db_text(rows, 0, 0), sum) != 0)
        return err_set(e, ERR_CONFLICT,
                       "migration %s was applied in another version than this program's: the "
                       "database belongs to another build",
                       file->name);
    return ERR_OK;
}

/* Whether others were in the way, and it may go through the next time. */
static bool was_in_the_way(const struct db *db)
{
    return strcmp(db_sqlstate(db), "55P03") == 0 || db_was_undone(db); /* lock_not_available */
}

/* Runs a file in one transaction, and records it when it is a migration. */
static enum err_code try_file(struct db *db, const struct embedded_file *file, bool *ret_again,
                              struct err *e)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    char sum[CHECKSUM_HEX];
    enum err_code rc = db_begin(db, &tx, e);

    if (!rc)
        rc = db_run_script(db, LOCK_TIMEOUT, e);
    if (!rc)
        rc = db_run_script(db, file->data, e);
    checksum(file, sum);
    if (!rc && is_migration(file))
        rc = db_exec(db, &statements[RECORD], DB_ARGS(DB_TEXT(file->name), DB_TEXT(sum)), NULL, e);
    if (!rc)
        rc = db_commit(&tx, e);
    *ret_again = rc && was_in_the_way(db);
    return rc;
}

/* Others work meanwhile: while one of them holds what the file needs, it lets go of everything and
 * tries again, so that nobody waits behind it for long. */
static enum err_code apply(struct db *db, const struct embedded_file *file, struct err *e)
{
    int64_t until_us = clock_mono_us() + MIGRATE_DEADLINE_S * US_PER_S;

    for (;;) {
        struct err own = {0};
        bool again = false;
        enum err_code rc = try_file(db, file, &again, &own);

        if (!rc)
            return ERR_OK;
        if (!again || clock_mono_us() > until_us)
            return err_set_detail(e, rc, own.detail, "%s", own.text);
        rc = db_run_script(db, "SELECT pg_sleep(0.2)", e);
        if (rc)
            return rc;
    }
}

/* A file that is no migration, by its name: it says what shall be, and may be applied any time. */
static enum err_code apply_named(struct db *db, const char *name, struct err *e)
{
    for (const struct embedded_file *file = sql_files; file->name; file++)
        if (strcmp(file->name, name) == 0)
            return apply(db, file, e);
    return err_set(e, ERR_INTERNAL, "this program was built without %s", name);
}

static enum err_code count_applied(struct db *db, int64_t *ret_count, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[COUNT_APPLIED], DB_NO_ARGS, &rows, e);

    if (!rc)
        *ret_count = db_int(rows, 0, 0);
    return rc;
}

static enum err_code apply_missing(struct db *db, migrate_progress *progress, void *context,
                                   struct err *e)
{
    int64_t applied = 0;
    enum err_code rc;

    for (const struct embedded_file *file = sql_files; file->name; file++) {
        bool done = false;

        if (!is_migration(file))
            continue;
        rc = is_applied(db, file, &done, e);
        if (!rc && !done)
            rc = apply(db, file, e);
        if (rc)
            return rc;
        if (!done && progress)
            progress(file->name, context);
    }
    rc = count_applied(db, &applied, e);
    if (!rc && applied > count_migrations())
        rc = err_set(e, ERR_CONFLICT, "the database is newer than this program: install the newer");
    return rc;
}

enum err_code migrate_up(struct db *db, bool make_roles, migrate_progress *progress, void *context,
                         struct err *e)
{
    enum err_code rc;

    db_set_deadline(db, MIGRATE_DEADLINE_S);
    /* The number is "till" in ASCII. */
    rc = db_run_script(db,
                       "SET statement_timeout = 0; SET lock_timeout = 0;"
                       "SELECT pg_advisory_lock(1953066092);"
                       "CREATE TABLE IF NOT EXISTS schema_migrations ("
                       " name text PRIMARY KEY, checksum text NOT NULL,"
                       " applied_at timestamptz NOT NULL DEFAULT now())",
                       e);
    if (!rc)
        rc = apply_missing(db, progress, context, e);
    if (!rc && make_roles)
        rc = apply_named(db, "roles.sql", e);
    if (!rc)
        rc = apply_named(db, "grants.sql", e);
    db_disconnect(db); /* gives the lock back and the settings up */
    db_set_deadline(db, DB_DEADLINE_S);
    return rc;
}

enum err_code migrate_check(struct db *db, struct err *e)
{
    struct err own = {0};
    int64_t applied = 0;
    int64_t missing;
    enum err_code rc = count_applied(db, &applied, &own);

    if (rc && strcmp(db_sqlstate(db), "42P01") != 0) /* undefined_table: never migrated */
        return err_set_detail(e, rc, own.detail, "%s", own.text);
    missing = count_migrations() - applied;
    if (missing > 0)
        return err_set(e, ERR_UNAVAILABLE,
                       "the database lacks %lld migration%s: run \"till migrate\"",
                       (long long)missing, missing == 1 ? "" : "s");
    return ERR_OK;
}

enum err_code migrate_seed(struct db *db, struct err *e) { return apply_named(db, "demo.sql", e); }
