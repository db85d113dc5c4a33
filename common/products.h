/* SPDX-License-Identifier: MIT
 *
 * Reading the catalogue: products and their categories. Stock falls in orders.h alone.
 */
#ifndef COMMON_PRODUCTS_H
#define COMMON_PRODUCTS_H

#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

/* All texts are owned; product_release() frees them. */
struct product {
    int64_t id;
    char *name;
    char *description;
    int64_t price; /* minor units */
    int64_t stock_quantity;
    int64_t category_id;
    char *created_at; /* as clock_format() writes it */
    char *updated_at;
};

struct products {
    struct product *items; /* owned */
    size_t count;
};

void product_release(struct product *product);
void products_release(struct products *products);

/* By id. *ret_total counts without limit and offset. */
enum err_code products_list(struct db *db, int64_t limit, int64_t offset,
                            struct products *ret_products, int64_t *ret_total,
                            struct err *e) MUST_CHECK;
enum err_code products_find(struct db *db, int64_t id, struct product *ret_product,
                            struct err *e) MUST_CHECK;

/* All texts are owned; category_release() frees them. */
struct category {
    int64_t id;
    char *name;
    int64_t parent_id; /* 0: none */
    char *created_at;
    char *updated_at;
};

struct categories {
    struct category *items; /* owned */
    size_t count;
};

void category_release(struct category *category);
void categories_release(struct categories *categories);

enum err_code categories_list(struct db *db, int64_t limit, int64_t offset,
                              struct categories *ret_categories, int64_t *ret_total,
                              struct err *e) MUST_CHECK;
enum err_code categories_find(struct db *db, int64_t id, struct category *ret_category,
                              struct err *e) MUST_CHECK;

#endif
