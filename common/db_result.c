/* SPDX-License-Identifier: MIT
 *
 * Reading the rows of a result, and what an SQLSTATE means; see db.h. A struct db_result is libpq's
 * PGresult by another name. Opens nothing.
 */
#include "common/db.h"

#include <string.h>

#include <libpq-fe.h>

#include "common/db_private.h"
#include "common/text.h"

static PGresult *raw(const struct db_result *rows) { return (PGresult *)(uintptr_t)rows; }

void db_result_free(struct db_result *rows) { PQclear(raw(rows)); }

int db_rows(const struct db_result *rows) { return PQntuples(raw(rows)); }

int db_columns(const struct db_result *rows) { return PQnfields(raw(rows)); }

const char *db_text(const struct db_result *rows, int row, int col)
{
    return PQgetvalue(raw(rows), row, col);
}

bool db_is_null(const struct db_result *rows, int row, int col)
{
    return PQgetisnull(raw(rows), row, col) == 1;
}

int64_t db_int(const struct db_result *rows, int row, int col)
{
    int64_t value = 0;

    (void)text_to_int(db_text(rows, row, col), INT64_MIN, INT64_MAX, &value);
    return value;
}

bool db_bool(const struct db_result *rows, int row, int col)
{
    return *db_text(rows, row, col) == 't';
}

const char *db_advice(const char *state)
{
    static const struct {
        const char *state;
        const char *advice;
    } known[] = {
        {"25006", ": it takes no writes; DATABASE_URL must name the primary"},
        {"42501",
         ": its user may not do that; sql/grants.sql says who may, \"till migrate\" grants it"},
        {"42703", ": it lacks a column; \"till migrate\" brings it up to date"},
        {"42883", ": it lacks a function; \"till migrate\" brings it up to date"},
        {"42P01", ": it lacks a table; \"till migrate\" brings it up to date"},
    };

    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (strcmp(state, known[i].state) == 0)
            return known[i].advice;
    return "";
}

/* The one place that maps an SQLSTATE to what happens next (PostgreSQL manual, appendix A). */
enum err_code db_code_of(const char *state)
{
    static const struct {
        const char *prefix;
        enum err_code code;
    } classes[] = {
        {"23505", ERR_CONFLICT},    /* unique_violation */
        {"23P01", ERR_CONFLICT},    /* exclusion_violation */
        {"23", ERR_INVALID},        /* other integrity constraints */
        {"22", ERR_INVALID},        /* data exception */
        {"40", ERR_UNAVAILABLE},    /* serialization failure, deadlock */
        {"55P03", ERR_UNAVAILABLE}, /* lock_not_available */
        {"57014", ERR_TIMEOUT},     /* query_canceled: statement_timeout */
        {"57P", ERR_UNAVAILABLE},   /* shutdown, crash, cannot_connect_now */
        {"08", ERR_UNAVAILABLE},    /* connection */
        {"53", ERR_UNAVAILABLE},    /* resources: connections, disk, memory */
        {"25006", ERR_UNAVAILABLE}, /* read-only: a demoted primary */
        {"25P", ERR_UNAVAILABLE},   /* idle in transaction timeout and its kin */
        {"TL001", ERR_CONFLICT},    /* ours: till_not_ours(), sql/0048 */
    };

    for (size_t i = 0; i < COUNT_OF(classes); i++)
        if (text_starts(state, classes[i].prefix))
            return classes[i].code;
    return ERR_INTERNAL;
}
