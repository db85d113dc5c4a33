/* SPDX-License-Identifier: MIT
 *
 * What the confirmation mail of an order says, read in one go.
 */
#ifndef COMMON_CONFIRMATION_H
#define COMMON_CONFIRMATION_H

#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

struct confirmation_line {
    char *product; /* owned */
    int64_t quantity;
    int64_t price; /* minor units, of one */
};

struct confirmation {
    int64_t order_id;
    char *email;   /* owned */
    char *name;    /* owned: first and last name, or the username */
    char *status;  /* owned: of the order */
    int64_t total; /* minor units */
    char currency[4];
    struct confirmation_line *lines; /* owned */
    size_t line_count;
};

void confirmation_release(struct confirmation *confirmation);

/* ERR_NOT_FOUND when there is no such order. */
enum err_code confirmation_read(struct db *db, int64_t order_id,
                                struct confirmation *ret_confirmation, struct err *e) MUST_CHECK;

#endif
