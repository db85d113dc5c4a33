/* SPDX-License-Identifier: MIT
 *
 * Every endpoint of till-api: one row each. The order does not matter.
 */
#include "api/api.h"

#include "common/auto.h"

/* clang-format off */
const struct route api_routes[] = {
    {"GET",  "/health",               SCOPE_PUBLIC, health_live},
    {"GET",  "/healthz",              SCOPE_PUBLIC, health_live},
    {"GET",  "/readyz",               SCOPE_PUBLIC, health_ready},
    {"GET",  "/api/",                 SCOPE_USER,   api_root},
    {"POST", "/api/auth/register/",   SCOPE_PUBLIC, auth_register},
    {"POST", "/api/auth/login/",      SCOPE_PUBLIC, auth_login},
    {"POST", "/api/auth/refresh/",    SCOPE_PUBLIC, auth_refresh},
    {"POST", "/api/auth/logout/",     SCOPE_PUBLIC, auth_logout},
    {"GET",  "/api/users/",           SCOPE_USER,   users_index},
    {"GET",  "/api/users/<id>/",      SCOPE_USER,   users_show},
    {"GET",  "/api/categories/",      SCOPE_USER,   categories_index},
    {"GET",  "/api/categories/<id>/", SCOPE_USER,   categories_show},
    {"GET",  "/api/products/",        SCOPE_USER,   products_index},
    {"GET",  "/api/products/<id>/",   SCOPE_USER,   products_show},
    {"GET",  "/api/orders/",          SCOPE_USER,   orders_index},
    {"POST", "/api/orders/",          SCOPE_USER,   orders_add},
    {"GET",  "/api/orders/<id>/",     SCOPE_USER,   orders_show},
    {"GET",  "/api/payments/",        SCOPE_USER,   payments_index},
    {"POST", "/api/payments/",        SCOPE_USER,   payments_add},
    {"GET",  "/api/payments/<id>/",   SCOPE_USER,   payments_show},
    {"GET",  "/payment/order/",       SCOPE_USER,   orders_current},
    {"POST", "/payment/pay/<id>/",    SCOPE_USER,   payments_pay_order},
    {"GET",  "/market/order/",        SCOPE_USER,   orders_current},
    {"POST", "/market/pay/<id>/",     SCOPE_USER,   payments_pay_order},
};
/* clang-format on */

const size_t api_routes_count = COUNT_OF(api_routes);
