/* SPDX-License-Identifier: MIT
 *
 * /api/shopping-carts/: one's own. A cart has no field that a client may set.
 */
#include "api/resource.h"
#include "common/shop.h"

static const struct resource resource = {.sql = &shopping_carts_sql};

RESOURCE_OWN_READERS(shopping_carts)
RESOURCE_WRITERS(shopping_carts)
