/* SPDX-License-Identifier: MIT
 *
 * /api/products/: everybody reads, staff writes; and /api/products/<id>/rating/.
 */
#include "api/resource.h"
#include "common/auto.h"
#include "common/mem.h"
#include "common/money.h"
#include "common/shop.h"

static const struct resource_field fields[] = {
    {.name = "name", .kind = RESOURCE_TEXT, .max = 255},
    {.name = "description",
     .kind = RESOURCE_TEXT,
     .rules = FIELD_OPTIONAL | FIELD_BLANK,
     .max = 10000},
    {.name = "price", .kind = RESOURCE_DECIMAL, .max = MONEY_MAX},
    {.name = "stock_quantity", .kind = RESOURCE_INT, .rules = FIELD_OPTIONAL, .max = INT32_MAX},
    {.name = "category_id", .kind = RESOURCE_ID, .rules = RESOURCE_REFERENCE},
};

static const struct resource_field filters[] = {
    {.name = "category_id", .kind = RESOURCE_ID},
    {.name = "price_min", .kind = RESOURCE_DECIMAL, .max = MONEY_MAX},
    {.name = "price_max", .kind = RESOURCE_DECIMAL, .max = MONEY_MAX},
    {.name = "search", .kind = RESOURCE_TEXT, .max = 255},
    {.name = "in_stock", .kind = RESOURCE_BOOL},
};

static const struct resource resource = {
    .sql = &products_sql,
    .fields = fields,
    .fields_count = COUNT_OF(fields),
    .filters = filters,
    .filters_count = COUNT_OF(filters),
};

RESOURCE_CACHED_READER(products_show, resource_show, show, CACHE_ROW)
RESOURCE_WRITERS(products)

static enum err_code list(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(mem_free) char *in_stock = request_query(req, "in_stock");
    enum err_code rc = resource_index(&resource, req, reply, e);

    if (in_stock) /* what is sold of others may bring them here, or away */
        cache_forget_rows(req);
    return rc;
}

RESOURCE_CACHED(products_index, list, CACHE_LIST)

static enum err_code show_rating(struct request *req, struct reply *reply, struct err *e)
{
    static const struct resource rating = {.sql = &product_ratings_sql};

    return resource_show(&rating, req, reply, e);
}

RESOURCE_CACHED(products_rating, show_rating, CACHE_SHAPE)
