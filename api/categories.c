/* SPDX-License-Identifier: MIT
 *
 * /api/categories/: everybody reads, staff writes.
 */
#include "api/resource.h"
#include "common/auto.h"
#include "common/shop.h"

static const struct resource_field fields[] = {
    {.name = "name", .kind = RESOURCE_TEXT, .max = 255},
    {.name = "parent_id",
     .kind = RESOURCE_ID,
     .rules = FIELD_OPTIONAL | RESOURCE_NULL | RESOURCE_REFERENCE},
};

static const struct resource_field filters[] = {
    {.name = "parent_id", .kind = RESOURCE_ID},
    {.name = "search", .kind = RESOURCE_TEXT, .max = 255},
};

#define CYCLE "A category cannot stand below itself."
static const struct resource_refusal refusals[] = {
    {"categories_no_cycle", "parent_id", CYCLE},
    {"categories_check", "parent_id", CYCLE},
    {NULL, NULL, NULL},
};

static const struct resource resource = {
    .sql = &categories_sql,
    .fields = fields,
    .fields_count = COUNT_OF(fields),
    .filters = filters,
    .filters_count = COUNT_OF(filters),
    .refusals = refusals,
};

RESOURCE_CACHED_READER(categories_index, resource_index, list, CACHE_SHAPE)
RESOURCE_CACHED_READER(categories_show, resource_show, show, CACHE_SHAPE)
RESOURCE_WRITERS(categories)
