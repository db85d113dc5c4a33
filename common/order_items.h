/* SPDX-License-Identifier: MIT
 *
 * Adding an item to an order that exists. Reading items stands in order_items_sql (shop.h).
 */
#ifndef COMMON_ORDER_ITEMS_H
#define COMMON_ORDER_ITEMS_H

#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

struct order_item_new {
    int64_t user_id;
    int64_t order_id;
    int64_t product_id;
    int64_t quantity; /* 1..ORDER_QUANTITY_MAX */
};

/* Why an item was not added. */
enum order_item_refusal {
    ORDER_ITEM_NO_ORDER, /* it does not exist, or is another's */
    ORDER_ITEM_NO_PRODUCT,
    ORDER_ITEM_CLOSED, /* the order is paid or over */
    ORDER_ITEM_PAYING, /* a payment of it is alive: its amount is fixed */
    ORDER_ITEM_FULL,   /* as many items as an order may have */
    ORDER_ITEM_NO_STOCK,
    ORDER_ITEM_TOTAL, /* more than an amount can say */
};

/* In the caller's transaction: takes the stock, keeps the price of now, raises the order's total.
 * *ret_json (to be freed with mem_free()) is the item as clients see it. ERR_CONFLICT with
 * *ret_refusal when it cannot be; then nothing was written. */
enum err_code order_items_add(struct db *db, const struct order_item_new *item, char **ret_json,
                              enum order_item_refusal *ret_refusal, struct err *e) MUST_CHECK;

#endif
