/* SPDX-License-Identifier: MIT
 *
 * /api/users/: oneself; for staff everybody.
 */
#include "api/resource.h"
#include "common/shop.h"

static const struct resource resource = {.sql = &users_sql};

RESOURCE_READERS(users)
