/* SPDX-License-Identifier: MIT
 *
 * /api/reviews/: everybody reads all of them, the author changes and removes.
 */
#include "api/resource.h"
#include "common/auto.h"
#include "common/shop.h"

static const struct resource_field fields[] = {
    {.name = "rating", .kind = RESOURCE_DECIMAL, .min = 100, .max = 500},
    {.name = "comment", .kind = RESOURCE_TEXT, .max = 255},
    {.name = "product_id", .kind = RESOURCE_ID, .rules = RESOURCE_REFERENCE},
};

static const struct resource_field filters[] = {
    {.name = "product_id", .kind = RESOURCE_ID},
    {.name = "user_id", .kind = RESOURCE_ID},
    {.name = "rating_min", .kind = RESOURCE_DECIMAL, .max = 500},
};

static const struct resource resource = {
    .sql = &reviews_sql,
    .fields = fields,
    .fields_count = COUNT_OF(fields),
    .filters = filters,
    .filters_count = COUNT_OF(filters),
    .is_read_by_all = true,
};

RESOURCE_PUBLIC_READERS(reviews)
RESOURCE_WRITERS(reviews)
