/* SPDX-License-Identifier: MIT
 *
 * Orders and their items. An order is made whole in one transaction: products are locked in the
 * order of their ids (so that two orders never wait for each other), prices are copied, stock
 * falls, and the database checks the total once more at the commit.
 */
#ifndef COMMON_ORDERS_H
#define COMMON_ORDERS_H

#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

enum { ORDER_ITEMS_MAX = 100, ORDER_QUANTITY_MAX = 1000000 };

struct order_item {
    int64_t id;
    int64_t product_id;
    int64_t quantity;
    int64_t price; /* minor units, as it was when the order was made */
};

/* All pointers are owned; order_release() frees them. */
struct order {
    int64_t id;
    int64_t user_id;
    char *status;
    int64_t total;    /* minor units */
    char *created_at; /* as clock_format() writes it */
    char *updated_at;
    struct order_item *items;
    size_t items_count;
};

struct orders {
    struct order *items; /* owned */
    size_t count;
};

void order_release(struct order *order);
void orders_release(struct orders *orders);

/* One wanted line. The same product may stand in several; together they must be in stock. */
struct order_line {
    int64_t product_id;
    int64_t quantity;
};

/* Why an order was not made. */
struct order_refusal {
    enum {
        ORDER_REFUSED_UNKNOWN, /* lines[at] names a product that does not exist */
        ORDER_REFUSED_STOCK,   /* lines[at] is the first that finds too little */
        ORDER_REFUSED_TOTAL,   /* more than an amount can say */
    } reason;
    size_t at;
};

/* In the caller's transaction, with two statements whatever the number of lines (at most
 * ORDER_ITEMS_MAX, each 1..ORDER_QUANTITY_MAX). ERR_CONFLICT with *ret_refusal when it cannot be;
 * then nothing was written. */
enum err_code orders_create(struct db *db, int64_t user_id, const struct order_line *lines,
                            size_t count, struct order *ret_order,
                            struct order_refusal *ret_refusal, struct err *e) MUST_CHECK;

/* Which of the lines name a product that exists: fills exists[count]. */
enum err_code orders_check_products(struct db *db, const struct order_line *lines, size_t count,
                                    bool *exists, struct err *e) MUST_CHECK;

/* Of this user, with their items, by id. *ret_total counts without limit and offset. */
enum err_code orders_list(struct db *db, int64_t user_id, int64_t limit, int64_t offset,
                          struct orders *ret_orders, int64_t *ret_total, struct err *e) MUST_CHECK;
/* ERR_NOT_FOUND: it does not exist, or is another's. */
enum err_code orders_find(struct db *db, int64_t user_id, int64_t id, struct order *ret_order,
                          struct err *e) MUST_CHECK;
/* The newest that may still be paid. */
enum err_code orders_find_payable(struct db *db, int64_t user_id, struct order *ret_order,
                                  struct err *e) MUST_CHECK;

#endif
