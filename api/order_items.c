/* SPDX-License-Identifier: MIT
 *
 * /api/order-items/: the items of one's own orders, and one more for an order that nobody pays for
 * yet.
 */
#include "common/order_items.h"

#include <inttypes.h>
#include <string.h>

#include "api/once.h"
#include "api/resource.h"
#include "common/auto.h"
#include "common/mem.h"
#include "common/orders.h"
#include "common/shop.h"

static const struct resource_field filters[] = {
    {.name = "order_id", .kind = RESOURCE_ID},
    {.name = "product_id", .kind = RESOURCE_ID},
};

static const struct resource resource = {
    .sql = &order_items_sql,
    .filters = filters,
    .filters_count = COUNT_OF(filters),
};

RESOURCE_LAGGING(order_items_index, resource_index, list)

static void reply_refusal(struct reply *reply, const struct order_item_new *item,
                          enum order_item_refusal refusal)
{
    AUTO_VALUE(fields_release) struct fields f = {0};

    fields_begin_nested(&f, NULL);
    switch (refusal) {
    case ORDER_ITEM_NO_ORDER:
        fields_error_no_object(&f, "order_id", item->order_id);
        break;
    case ORDER_ITEM_NO_PRODUCT:
        fields_error_no_object(&f, "product_id", item->product_id);
        break;
    case ORDER_ITEM_CLOSED:
        fields_error(&f, "order_id", "Order is paid or over.");
        break;
    case ORDER_ITEM_PAYING:
        fields_error(&f, "order_id", "A payment for this order is already in progress.");
        break;
    case ORDER_ITEM_FULL:
        fields_error(&f, "order_id", "The order has as many items as it may have.");
        break;
    case ORDER_ITEM_NO_STOCK:
        fields_error(&f, "quantity", "Not enough stock for product %" PRId64 ".", item->product_id);
        break;
    case ORDER_ITEM_TOTAL:
        fields_error(&f, "quantity", "The total of the order is too large.");
        break;
    }
    (void)fields_end(&f, reply);
}

static enum err_code create(struct request *req, struct reply *reply, void *data, struct err *e)
{
    AUTO(mem_free) char *json = NULL;
    const struct order_item_new *item = data;
    enum order_item_refusal refusal = ORDER_ITEM_NO_ORDER;
    struct err failure = {0};
    enum err_code rc = order_items_add(api_db(req), item, &json, &refusal, &failure);

    if (rc == ERR_CONFLICT) {
        reply_refusal(reply, item, refusal);
        return ERR_OK;
    }
    if (rc)
        return err_set_detail(e, rc, failure.detail, "%s", failure.text);
    reply_bytes(reply, 201, "application/json", json, strlen(json));
    return ERR_OK;
}

enum err_code order_items_add_one(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(fields_release) struct fields f = {0};
    struct order_item_new item = {.user_id = req->user.id};
    bool exists[2] = {true, true};
    enum err_code rc;

    if (!fields_begin(&f, req->data, reply))
        return ERR_OK;
    (void)fields_id(&f, "order_id", &item.order_id);
    (void)fields_id(&f, "product_id", &item.product_id);
    (void)fields_int(&f, "quantity", 1, ORDER_QUANTITY_MAX, &item.quantity);
    fields_refuse_unknown(&f);
    if (fields_are_good(&f))
        return once_run(req, reply, &(struct once_work){.run = create, .data = &item}, e);
    rc = resource_check(api_db(req), &order_items_sql, item.user_id,
                        (int64_t[]){item.order_id, item.product_id}, 2, exists, e);
    if (!rc && !exists[0] && item.order_id > 0)
        fields_error_no_object(&f, "order_id", item.order_id);
    if (!rc && !exists[1] && item.product_id > 0)
        fields_error_no_object(&f, "product_id", item.product_id);
    if (!rc)
        (void)fields_end(&f, reply);
    return rc;
}
