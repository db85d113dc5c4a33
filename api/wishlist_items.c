/* SPDX-License-Identifier: MIT
 *
 * /api/wishlist-items/: in one's own wishlists; a product stands in one of them once.
 */
#include "api/resource.h"
#include "common/auto.h"
#include "common/shop.h"

static const struct resource_field fields[] = {
    {.name = "wishlist_id", .kind = RESOURCE_ID, .rules = RESOURCE_REFERENCE},
    {.name = "product_id", .kind = RESOURCE_ID, .rules = RESOURCE_REFERENCE},
};

static const struct resource_field filters[] = {
    {.name = "wishlist_id", .kind = RESOURCE_ID},
    {.name = "product_id", .kind = RESOURCE_ID},
};

static const struct resource_refusal refusals[] = {
    {"wishlist_items_wishlist_id_product_id_key", "non_field_errors",
     "The fields wishlist_id, product_id must make a unique set."},
    {NULL, NULL, NULL},
};

static const struct resource resource = {
    .sql = &wishlist_items_sql,
    .fields = fields,
    .fields_count = COUNT_OF(fields),
    .filters = filters,
    .filters_count = COUNT_OF(filters),
    .refusals = refusals,
};

RESOURCE_OWN_READERS(wishlist_items)
RESOURCE_WRITERS(wishlist_items)
