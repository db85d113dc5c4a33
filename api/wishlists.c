/* SPDX-License-Identifier: MIT
 *
 * /api/wishlists/: one's own. A wishlist has no field that a client may set.
 */
#include "api/resource.h"
#include "common/shop.h"

static const struct resource resource = {.sql = &wishlists_sql};

RESOURCE_OWN_READERS(wishlists)
RESOURCE_WRITERS(wishlists)
