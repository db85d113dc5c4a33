/* SPDX-License-Identifier: MIT
 *
 * Every SQL statement of the tree is prepared against the migrated schema: a misspelt column, a
 * wrong type or a wrong number of parameters is found here and not by a customer.
 */
#include "common/statements.h"

#include <string.h>

#include <criterion/criterion.h>
#include <libpq-fe.h>

#include "common/text.h"
#include "tests/integration/stores.h"

static PGconn *conn;

static void start(void)
{
    conn = PQconnectdb(need_setting("DATABASE_URL"));
    cr_assert_eq(PQstatus(conn), CONNECTION_OK, "%s", PQerrorMessage(conn));
}

static void finish(void) { PQfinish(conn); }

TestSuite(statements, .init = start, .fini = finish);

/* What the server says it has prepared under this name; -1 when it has not. */
static int prepared_params(const char *name)
{
    PGresult *result = PQexecParams(conn,
                                    "SELECT coalesce(cardinality(parameter_types), 0)"
                                    " FROM pg_prepared_statements WHERE name = $1",
                                    1, NULL, &name, NULL, NULL, 0);
    int64_t count = -1;

    cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQerrorMessage(conn));
    if (PQntuples(result) == 1)
        cr_assert(text_to_int(PQgetvalue(result, 0, 0), 0, 1000, &count));
    PQclear(result);
    return (int)count;
}

static void check_statement(const char *store, const struct db_stmt *stmt)
{
    PGresult *result;

    cr_expect_not_null(stmt->name, "%s has a hole in its table", store);
    if (!stmt->name)
        return;
    result = PQprepare(conn, stmt->name, stmt->sql, 0, NULL);
    cr_expect_eq(PQresultStatus(result), PGRES_COMMAND_OK, "%s: %s", stmt->name,
                 PQresultErrorMessage(result));
    PQclear(result);
    cr_expect_eq(prepared_params(stmt->name), stmt->params,
                 "%s declares %d parameters, the server found %d", stmt->name, stmt->params,
                 prepared_params(stmt->name));
}

Test(statements, each_can_be_prepared_and_declares_its_parameters)
{
    for (size_t s = 0; s < db_all_statements_count; s++)
        for (size_t i = 0; i < db_all_statements[s]->count; i++)
            check_statement(db_all_statements[s]->store, &db_all_statements[s]->statements[i]);
}

Test(statements, names_are_unique_and_fit_the_server)
{
    size_t all = 0;

    for (size_t s = 0; s < db_all_statements_count; s++) {
        const struct db_statements *a = db_all_statements[s];

        cr_expect_gt(a->count, 0, "%s", a->store);
        all += a->count;
        for (size_t i = 0; i < a->count; i++) {
            const char *name = a->statements[i].name;

            cr_expect_lt(strlen(name), 64, "%s is cut by the server", name);
            for (size_t t = 0; t <= s; t++)
                for (size_t k = 0; k < (t == s ? i : db_all_statements[t]->count); k++)
                    cr_expect_str_neq(db_all_statements[t]->statements[k].name, name);
        }
    }
    cr_assert_gt(all, 0);
}
