/* SPDX-License-Identifier: MIT
 *
 * Running the statements of a resource; see resource.h. No SQL stands here.
 */
#include "common/resource.h"

#include <stdlib.h>
#include <string.h>

enum { PARAMS_MAX = RESOURCE_VALUES_MAX + 3 };

/* The parameters before the values, then the values. */
struct call {
    struct db_param params[PARAMS_MAX];
    size_t count;
};

static void add(struct call *call, struct db_param param)
{
    if (call->count == PARAMS_MAX)
        abort(); /* our own mistake */
    call->params[call->count++] = param;
}

static void add_values(struct call *call, const struct resource_values *values)
{
    for (size_t i = 0; values && i < values->count; i++)
        add(call, values->items[i]);
}

static struct db_args args_of(const struct call *call)
{
    return (struct db_args){call->params, call->count};
}

/* One row that must be there. */
static enum err_code query_row(struct db *db, const struct db_stmt *stmt, const struct call *call,
                               struct db_result **ret_rows, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, stmt, args_of(call), &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no such object");
    *ret_rows = TAKE(rows);
    return ERR_OK;
}

/* Of several orderings ("-price,name") the first that is offered decides. */
static const struct db_stmt *find_list(const struct resource_sql *sql, const char *names)
{
    for (const char *name = names; name && *name;) {
        size_t len = strcspn(name, ",");

        for (const struct resource_order *order = sql->lists; order->name; order++)
            if (strlen(order->name) == len && strncmp(order->name, name, len) == 0)
                return order->stmt;
        name += len + (name[len] == ',');
    }
    return sql->lists->stmt;
}

enum err_code resource_list(struct db *db, const struct resource_sql *sql, int64_t user_id,
                            const struct resource_page *page, const struct resource_values *filters,
                            struct db_result **ret_rows, int64_t *ret_total, struct err *e)
{
    struct call call = {0};
    enum err_code rc;

    add(&call, DB_INT(user_id));
    add(&call, DB_INT(page->limit));
    add(&call, DB_INT(page->offset));
    add_values(&call, filters);
    rc = query_row(db, find_list(sql, page->order), &call, ret_rows, e);
    if (!rc)
        *ret_total = db_int(*ret_rows, 0, 0);
    return rc;
}

enum err_code resource_find(struct db *db, const struct resource_sql *sql, int64_t user_id,
                            int64_t id, struct db_result **ret_rows, struct err *e)
{
    struct call call = {0};

    add(&call, DB_INT(user_id));
    add(&call, DB_INT(id));
    return query_row(db, sql->find, &call, ret_rows, e);
}

enum err_code resource_add(struct db *db, const struct resource_sql *sql, int64_t user_id,
                           const struct resource_values *values, struct db_result **ret_rows,
                           struct err *e)
{
    struct call call = {0};

    add(&call, DB_INT(user_id));
    add_values(&call, values);
    return query_row(db, sql->add, &call, ret_rows, e);
}

enum err_code resource_change(struct db *db, const struct resource_sql *sql, int64_t user_id,
                              int64_t id, const struct resource_values *values,
                              struct db_result **ret_rows, struct err *e)
{
    struct call call = {0};

    add(&call, DB_INT(user_id));
    add(&call, DB_INT(id));
    add_values(&call, values);
    return query_row(db, sql->change, &call, ret_rows, e);
}

enum err_code resource_remove(struct db *db, const struct resource_sql *sql, int64_t user_id,
                              int64_t id, struct err *e)
{
    int64_t removed = 0;
    enum err_code rc = db_exec(db, sql->remove, DB_ARGS(DB_INT(user_id), DB_INT(id)), &removed, e);

    if (!rc && removed == 0)
        rc = err_set(e, ERR_NOT_FOUND, "there is no such object");
    return rc;
}

enum err_code resource_hold(struct db *db, const struct resource_sql *sql, int64_t user_id,
                            int64_t id, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct call call = {0};

    add(&call, DB_INT(user_id));
    add(&call, DB_INT(id));
    return query_row(db, sql->hold, &call, &rows, e);
}

enum err_code resource_check(struct db *db, const struct resource_sql *sql, int64_t user_id,
                             const int64_t *ids, size_t count, bool *exists, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct call call = {0};
    enum err_code rc;

    add(&call, DB_INT(user_id));
    for (size_t i = 0; i < count; i++)
        add(&call, DB_INT(ids[i]));
    rc = query_row(db, sql->check, &call, &rows, e);
    for (size_t i = 0; !rc && i < count; i++)
        exists[i] = db_bool(rows, 0, (int)i);
    return rc;
}
