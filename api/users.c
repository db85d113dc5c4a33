/* SPDX-License-Identifier: MIT
 *
 * /api/users/: oneself; for staff everybody.
 */
#include "api/resource.h"
#include "common/auto.h"
#include "common/shop.h"

/* Of those whom the user may see: anybody but staff finds oneself or nobody. */
static const struct resource_field filters[] = {
    {.name = "search", .kind = RESOURCE_TEXT, .max = 255},
    {.name = "is_staff", .kind = RESOURCE_BOOL},
};

static const struct resource resource = {
    .sql = &users_sql,
    .filters = filters,
    .filters_count = COUNT_OF(filters),
};

RESOURCE_READERS(users)
