/* SPDX-License-Identifier: MIT
 *
 * Statements on the tables of products and categories; see products.h.
 */
#include "common/products.h"

#include "common/mem.h"
#include "common/money.h"
#include "common/statements.h"

#define PRODUCT                                                                                    \
    "id, name, description, price, stock_quantity, category_id, " SQL_TIME(                        \
        "created_at") ", " SQL_TIME("updated_at")
#define CATEGORY "id, name, parent_id, " SQL_TIME("created_at") ", " SQL_TIME("updated_at")

enum { LIST, COUNT, FIND, LIST_CATEGORIES, COUNT_CATEGORIES, FIND_CATEGORY };

static const struct db_stmt statements[] = {
    [LIST] = {"products_list", "SELECT " PRODUCT " FROM products ORDER BY id LIMIT $1 OFFSET $2",
              2},
    [COUNT] = {"products_count", "SELECT count(*) FROM products", 0},
    [FIND] = {"products_find", "SELECT " PRODUCT " FROM products WHERE id = $1", 1},
    [LIST_CATEGORIES] = {"categories_list",
                         "SELECT " CATEGORY " FROM categories ORDER BY id LIMIT $1 OFFSET $2", 2},
    [COUNT_CATEGORIES] = {"categories_count", "SELECT count(*) FROM categories", 0},
    [FIND_CATEGORY] = {"categories_find", "SELECT " CATEGORY " FROM categories WHERE id = $1", 1},
};

DB_STATEMENTS(products, statements);

/* ---- products ---- */

void product_release(struct product *product)
{
    mem_free(product->name);
    mem_free(product->description);
    mem_free(product->created_at);
    mem_free(product->updated_at);
    *product = (struct product){0};
}

void products_release(struct products *products)
{
    for (size_t i = 0; i < products->count; i++)
        product_release(&products->items[i]);
    mem_free(products->items);
    *products = (struct products){0};
}

static enum err_code read_product(const struct db_result *rows, int row, struct product *product,
                                  struct err *e)
{
    *product = (struct product){
        .id = db_int(rows, row, 0),
        .name = mem_dup(db_text(rows, row, 1)),
        .description = mem_dup(db_text(rows, row, 2)),
        .stock_quantity = db_int(rows, row, 4),
        .category_id = db_int(rows, row, 5),
        .created_at = mem_dup(db_text(rows, row, 6)),
        .updated_at = mem_dup(db_text(rows, row, 7)),
    };
    if (!money_parse(db_text(rows, row, 3), &product->price))
        return err_set(e, ERR_PROTOCOL, "a price of the database is no amount");
    return ERR_OK;
}

enum err_code products_list(struct db *db, int64_t limit, int64_t offset,
                            struct products *ret_products, int64_t *ret_total, struct err *e)
{
    AUTO(db_result_free) struct db_result *total = NULL;
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(products_release) struct products list = {0};
    enum err_code rc = db_query(db, &statements[COUNT], DB_NO_ARGS, &total, e);

    if (!rc)
        rc = db_query(db, &statements[LIST], DB_ARGS(DB_INT(limit), DB_INT(offset)), &rows, e);
    if (rc)
        return rc;
    list.items = mem_array((size_t)db_rows(rows) + 1, sizeof list.items[0]);
    for (; !rc && list.count < (size_t)db_rows(rows); list.count++)
        rc = read_product(rows, (int)list.count, &list.items[list.count], e);
    if (rc)
        return rc;
    *ret_products = list;
    list = (struct products){0};
    *ret_total = db_int(total, 0, 0);
    return ERR_OK;
}

enum err_code products_find(struct db *db, int64_t id, struct product *ret_product, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(product_release) struct product product = {0};
    enum err_code rc = db_query(db, &statements[FIND], DB_ARGS(DB_INT(id)), &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no such product");
    rc = read_product(rows, 0, &product, e);
    if (rc)
        return rc;
    *ret_product = product;
    product = (struct product){0};
    return ERR_OK;
}

/* ---- categories ---- */

void category_release(struct category *category)
{
    mem_free(category->name);
    mem_free(category->created_at);
    mem_free(category->updated_at);
    *category = (struct category){0};
}

void categories_release(struct categories *categories)
{
    for (size_t i = 0; i < categories->count; i++)
        category_release(&categories->items[i]);
    mem_free(categories->items);
    *categories = (struct categories){0};
}

static void read_category(const struct db_result *rows, int row, struct category *category)
{
    *category = (struct category){
        .id = db_int(rows, row, 0),
        .name = mem_dup(db_text(rows, row, 1)),
        .parent_id = db_int(rows, row, 2),
        .created_at = mem_dup(db_text(rows, row, 3)),
        .updated_at = mem_dup(db_text(rows, row, 4)),
    };
}

enum err_code categories_list(struct db *db, int64_t limit, int64_t offset,
                              struct categories *ret_categories, int64_t *ret_total, struct err *e)
{
    AUTO(db_result_free) struct db_result *total = NULL;
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[COUNT_CATEGORIES], DB_NO_ARGS, &total, e);

    if (!rc)
        rc = db_query(db, &statements[LIST_CATEGORIES], DB_ARGS(DB_INT(limit), DB_INT(offset)),
                      &rows, e);
    if (rc)
        return rc;
    ret_categories->count = (size_t)db_rows(rows);
    ret_categories->items = mem_array(ret_categories->count + 1, sizeof ret_categories->items[0]);
    for (size_t i = 0; i < ret_categories->count; i++)
        read_category(rows, (int)i, &ret_categories->items[i]);
    *ret_total = db_int(total, 0, 0);
    return ERR_OK;
}

enum err_code categories_find(struct db *db, int64_t id, struct category *ret_category,
                              struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[FIND_CATEGORY], DB_ARGS(DB_INT(id)), &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no such category");
    read_category(rows, 0, ret_category);
    return ERR_OK;
}
