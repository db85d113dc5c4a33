/* SPDX-License-Identifier: MIT
 *
 * Orders and their items. An order is made whole in one transaction: products are locked in the
 * order of their ids (so that two orders never wait for each other), prices are copied, stock
 * falls, and the database checks the total once more at the commit.
 */
#ifndef COMMON_ORDERS_H
#define COMMON_ORDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/order.h"
#include "common/uuid.h"

enum { ORDER_ITEMS_MAX = 100, ORDER_QUANTITY_MAX = 1000000 };

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
 * ORDER_ITEMS_MAX, each 1..ORDER_QUANTITY_MAX). *ret_json (to be freed with mem_free()) is the
 * order as clients see it. ERR_CONFLICT with *ret_refusal when it cannot be; then nothing was
 * written. */
enum err_code orders_create(struct db *db, int64_t user_id, const struct order_line *lines,
                            size_t count, char **ret_json, struct order_refusal *ret_refusal,
                            struct err *e) MUST_CHECK;

/* Which of the lines name a product that exists: fills exists[count]. */
enum err_code orders_check_products(struct db *db, const struct order_line *lines, size_t count,
                                    bool *exists, struct err *e) MUST_CHECK;

/* Empties a cart of this user into `lines` (ORDER_ITEMS_MAX of them), in the caller's transaction:
 * who comes at the same time waits and finds it empty. A product stands in one line, however often
 * it was put in. *ret_count is larger when the cart holds more than an order may. ERR_NOT_FOUND. */
enum err_code orders_take_cart(struct db *db, int64_t user_id, int64_t cart_id,
                               struct order_line *lines, size_t *ret_count,
                               struct err *e) MUST_CHECK;

/* Reading by id stands in orders_sql (shop.h). Column 0 is the JSON of the newest order that may
 * still be paid, and of the one whose payment was started last and has not failed. ERR_NOT_FOUND.
 */
enum err_code orders_find_payable(struct db *db, int64_t user_id, struct db_result **ret_rows,
                                  struct err *e) MUST_CHECK;
enum err_code orders_find_placed(struct db *db, int64_t user_id, struct db_result **ret_rows,
                                 struct err *e) MUST_CHECK;

/* Cancels an order of this user that is not paid and gives its stock back, in one statement.
 * False: it does not exist, is another's, or is paid or over. */
enum err_code orders_cancel(struct db *db, int64_t user_id, int64_t id, bool *ret_cancelled,
                            struct err *e) MUST_CHECK;

/* ERR_NOT_FOUND: it does not exist, or is another's. */
enum err_code orders_read_state(struct db *db, int64_t user_id, int64_t id,
                                enum order_state *ret_state, struct err *e) MUST_CHECK;

/* Locks an order, whoever's it is, in the caller's transaction. For one that is paid *ret_payment
 * is the payment to give back. ERR_NOT_FOUND. */
enum err_code orders_find_refundable(struct db *db, int64_t id, enum order_state *ret_state,
                                     struct uuid *ret_payment, struct err *e) MUST_CHECK;

#endif
