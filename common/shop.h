/* SPDX-License-Identifier: MIT
 *
 * The kinds of rows of the shop that need nothing but the shape of resource.h. What each statement
 * takes and gives stands in the store of its name: categories.c, products.c, ...
 */
#ifndef COMMON_SHOP_H
#define COMMON_SHOP_H

#include "common/resource.h"

extern const struct resource_sql categories_sql;
extern const struct resource_sql products_sql;
extern const struct resource_sql shopping_carts_sql;
extern const struct resource_sql cart_items_sql;
extern const struct resource_sql wishlists_sql;
extern const struct resource_sql wishlist_items_sql;
extern const struct resource_sql reviews_sql;
extern const struct resource_sql orders_sql;
extern const struct resource_sql order_items_sql;
extern const struct resource_sql payments_sql; /* lists alone */
extern const struct resource_sql users_sql;

/* A product's rating, or 404. */
extern const struct resource_sql product_ratings_sql;

#endif
