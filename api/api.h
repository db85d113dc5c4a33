/* SPDX-License-Identifier: MIT
 *
 * What the files of till-api share: the context of a request thread, the scopes of routes, and the
 * list of handlers. To add an endpoint: its handler here and in the file of its resource, its row
 * in routes.c.
 */
#ifndef API_API_H
#define API_API_H

#include "api/backends.h"
#include "api/http.h"
#include "api/leases.h"
#include "api/lookups.h"
#include "api/token.h"
#include "common/catalogue.h"
#include "common/conf.h"
#include "common/db.h"
#include "common/jobs.h"
#include "common/redis.h"

enum scope {
    SCOPE_PUBLIC = 0,
    SCOPE_USER,      /* an access token */
    SCOPE_CATALOGUE, /* the same for what cache_serve() answers: a lease may tell who asks */
    SCOPE_STAFF,     /* of a user who is staff */
    SCOPE_SIGNED,    /* nobody's token: the handler checks the signature of the raw body */
};

/* Of one request thread, and nobody else's. */
struct api {
    struct lookup *lookup;
    struct borrower *borrower;
    struct backends *backends; /* lent to the request that runs; NULL: it has needed none yet */
    struct db *reader;         /* the replica while a handler is to read there */
    const struct conf *conf;
    struct lease_user lease;
    bool is_leased;    /* a lease told who makes this request, and nobody has looked it up yet */
    int64_t lookup_us; /* how long the database took to tell who makes this request */
    /* When this request asked who makes it: */
    int64_t asked_us; /* monotonic */
    int64_t catalogue_version;
    int64_t primary_position; /* of its log */
    int64_t user_writes;      /* of the user */
    struct lookup_moment moment;
    struct row_asker *row_asker;
    /* The rows that the answer which was just made shows; see cache_note_rows(). */
    struct catalogue_rows made;
    bool has_made;
};

static inline struct api *api_of(const struct request *req) { return req->context; }

static inline struct token_keys api_keys(const struct request *req)
{
    const struct conf *conf = api_of(req)->conf;

    return (struct token_keys){conf->jwt_secret, conf->jwt_secret_previous};
}

/* The request's connections, lent to it until its answer is made; see backends.h. */
static inline struct backends *api_backends(const struct request *req)
{
    struct api *api = req->context;

    if (!api->backends)
        api->backends = backends_take(api->borrower, req->deadline_us);
    return api->backends;
}

static inline struct db *api_db(const struct request *req) { return api_backends(req)->db; }
static inline struct redis *api_redis(const struct request *req)
{
    return api_backends(req)->redis;
}

/* Before what takes long and needs none of them; the next use borrows anew. No transaction is open.
 */
static inline void api_give_back(const struct request *req)
{
    struct api *api = req->context;

    if (api->backends)
        backends_give_back(api->borrower, api->backends);
    api->backends = NULL;
}

/* Where the handler of a read that may lag reads from; see replica.h. */
static inline struct db *api_reader(const struct request *req)
{
    const struct api *api = req->context;

    return api->reader ? api->reader : api_db(req);
}

/* routes.c */
extern const struct route api_routes[];
extern const size_t api_routes_count;

/* setup.c: everything that server_start() needs, and what is left of it after server_stop(). */
void api_configure(const struct conf *conf, struct server_config *ret_config);
void api_release(void);

/* guard.c: the hooks of struct server_config. */
bool guard_unrouted(struct request *req, struct reply *reply);
bool guard_authorise(struct request *req, struct reply *reply);
bool guard_admit(struct request *req, struct reply *reply);
/* Looks up who makes the request, whom a lease had told. False: the reply is filled. */
bool guard_look_up(struct request *req, struct reply *reply);
/* The 429 of somebody who has to wait. */
void guard_throttle(struct reply *reply, int64_t wait_s);

/* auth.c */
http_handler auth_register;
http_handler auth_login;
http_handler auth_refresh;
http_handler auth_logout;
/* users.c */
http_handler users_index;
http_handler users_show;
/* categories.c */
http_handler categories_index;
http_handler categories_show;
http_handler categories_add;
http_handler categories_change;
http_handler categories_remove;
/* products.c */
http_handler products_index;
http_handler products_show;
http_handler products_add;
http_handler products_change;
http_handler products_remove;
http_handler products_rating;
/* shopping_carts.c */
http_handler shopping_carts_index;
http_handler shopping_carts_show;
http_handler shopping_carts_add;
http_handler shopping_carts_change;
http_handler shopping_carts_remove;
/* cart_items.c */
http_handler cart_items_index;
http_handler cart_items_show;
http_handler cart_items_add;
http_handler cart_items_change;
http_handler cart_items_remove;
/* wishlists.c */
http_handler wishlists_index;
http_handler wishlists_show;
http_handler wishlists_add;
http_handler wishlists_change;
http_handler wishlists_remove;
/* wishlist_items.c */
http_handler wishlist_items_index;
http_handler wishlist_items_show;
http_handler wishlist_items_add;
http_handler wishlist_items_change;
http_handler wishlist_items_remove;
/* reviews.c */
http_handler reviews_index;
http_handler reviews_show;
http_handler reviews_add;
http_handler reviews_change;
http_handler reviews_remove;
/* orders.c */
http_handler orders_index;
http_handler orders_add;
http_handler orders_show;
http_handler orders_current;
http_handler orders_placed;
http_handler orders_cancel_one;
http_handler orders_refund;
/* order_items.c */
http_handler order_items_index;
http_handler order_items_add_one;
/* payments.c */
http_handler payments_index;
http_handler payments_add;
http_handler payments_show;
http_handler payments_pay_order;
/* webhooks.c */
http_handler webhooks_stripe;
/* health.c */
http_handler health_live;
http_handler health_ready;
http_handler api_root;
/* metrics.c */
http_handler metrics_show;
/* openapi.c */
http_handler openapi_show;

/* After the commit: puts a job into its stream. */
void api_push(const struct request *req, const struct job_ready *job);

/* The id in path parameter 0. False: it is none, so nothing has it (404). */
bool api_path_id(const struct request *req, int64_t *ret_id);

#endif
