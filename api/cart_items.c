/* SPDX-License-Identifier: MIT
 *
 * /api/cart-items/: in one's own carts.
 */
#include "api/resource.h"
#include "common/auto.h"
#include "common/orders.h"
#include "common/shop.h"

static const struct resource_field fields[] = {
    {.name = "cart_id", .kind = RESOURCE_ID, .rules = RESOURCE_REFERENCE},
    {.name = "product_id", .kind = RESOURCE_ID, .rules = RESOURCE_REFERENCE},
    {.name = "quantity",
     .kind = RESOURCE_INT,
     .rules = FIELD_OPTIONAL,
     .min = 1,
     .max = ORDER_QUANTITY_MAX},
};

static const struct resource_field filters[] = {
    {.name = "cart_id", .kind = RESOURCE_ID},
    {.name = "product_id", .kind = RESOURCE_ID},
};

static const struct resource resource = {
    .sql = &cart_items_sql,
    .fields = fields,
    .fields_count = COUNT_OF(fields),
    .filters = filters,
    .filters_count = COUNT_OF(filters),
};

RESOURCE_OWN_READERS(cart_items)
RESOURCE_WRITERS(cart_items)
