/* SPDX-License-Identifier: MIT
 *
 * /healthz (this process answers), /readyz (it can do its work) and the list of resources at /api/.
 */
#include "api/api.h"

#include <string.h>

#include "common/clock.h"
#include "common/queue.h"

enum {
    ORIGIN_MAX = 16 * 1024, /* more than a head holds */
    READY_S = 2,            /* a probe does not wait for a database that does not answer */
};

enum err_code health_live(struct request *req, struct reply *reply, struct err *e)
{
    (void)req;
    return reply_json(reply, 200, json_pack("{s:s}", "status", "ok"), e);
}

/* Without Redis orders and payments are still accepted, so only the database decides. */
enum err_code health_ready(struct request *req, struct reply *reply, struct err *e)
{
    bool is_stopping = server_is_stopping(req->server);
    bool has_database;
    bool has_redis = !queue_ping(api_redis(req), NULL);
    bool is_ready;

    db_set_until(api_db(req), clock_mono_us() + READY_S * US_PER_S);
    has_database = !db_ping(api_db(req), NULL) || !db_ping(api_db(req), NULL);
    is_ready = has_database && !is_stopping;
    return reply_json(reply, is_ready ? 200 : 503,
                      json_pack("{s:s, s:s, s:s}", "status",
                                is_stopping ? "stopping"
                                : is_ready  ? "ok"
                                            : "unavailable",
                                "database", has_database ? "ok" : "unavailable", "redis",
                                has_redis ? "ok" : "unavailable"),
                      e);
}

enum err_code api_root(struct request *req, struct reply *reply, struct err *e)
{
    static const char *const names[] = {
        "users",      "categories", "products", "orders",    "order-items",   "shopping-carts",
        "cart-items", "payments",   "reviews",  "wishlists", "wishlist-items"};
    AUTO_VALUE(buf_release) struct buf origin;
    json_t *root = json_object();

    buf_init(&origin, ORIGIN_MAX);
    request_origin(req, &origin);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)json_object_set_new(root, names[i],
                                  json_sprintf("%s/api/%s/", origin.data, names[i]));
    return reply_json(reply, 200, root, e);
}
