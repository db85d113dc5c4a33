/* SPDX-License-Identifier: MIT
 *
 * Reading an order for its confirmation mail; see confirmation.h.
 */
#include "common/confirmation.h"

#include <stdio.h>

#include "common/mem.h"
#include "common/money.h"
#include "common/statements.h"

enum { READ };

static const struct db_stmt statements[] = {
    [READ] =
        {"confirmation_read",
         "SELECT u.email, coalesce(nullif(trim(u.first_name || ' ' || u.last_name), ''),"
         " u.username), o.order_status, o.total_amount, o.currency, p.name, i.quantity, i.price"
         " FROM orders o JOIN users u ON u.id = o.user_id"
         " LEFT JOIN order_items i ON i.order_id = o.id"
         " LEFT JOIN products p ON p.id = i.product_id"
         " WHERE o.id = $1 ORDER BY i.id",
         1},
};

DB_STATEMENTS(confirmation, statements);

void confirmation_release(struct confirmation *confirmation)
{
    for (size_t i = 0; i < confirmation->line_count; i++)
        mem_free(confirmation->lines[i].product);
    mem_free(confirmation->lines);
    mem_free(confirmation->email);
    mem_free(confirmation->name);
    mem_free(confirmation->status);
    *confirmation = (struct confirmation){0};
}

static enum err_code fill(const struct db_result *rows, struct confirmation *c, struct err *e)
{
    size_t count = db_is_null(rows, 0, 5) ? 0 : (size_t)db_rows(rows);

    c->email = mem_dup(db_text(rows, 0, 0));
    c->name = mem_dup(db_text(rows, 0, 1));
    c->status = mem_dup(db_text(rows, 0, 2));
    (void)snprintf(c->currency, sizeof c->currency, "%s", db_text(rows, 0, 4));
    c->lines = mem_array(count, sizeof c->lines[0]);
    if (!money_parse(db_text(rows, 0, 3), &c->total))
        return err_set(e, ERR_INTERNAL, "the total of order %lld is not readable",
                       (long long)c->order_id);
    for (size_t i = 0; i < count; i++) {
        struct confirmation_line *line = &c->lines[i];

        line->product = mem_dup(db_text(rows, (int)i, 5));
        c->line_count++;
        line->quantity = db_int(rows, (int)i, 6);
        if (!money_parse(db_text(rows, (int)i, 7), &line->price))
            return err_set(e, ERR_INTERNAL, "a price of order %lld is not readable",
                           (long long)c->order_id);
    }
    return ERR_OK;
}

enum err_code confirmation_read(struct db *db, int64_t order_id,
                                struct confirmation *ret_confirmation, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct confirmation c = {.order_id = order_id};
    enum err_code rc = db_query(db, &statements[READ], DB_ARGS(DB_INT(order_id)), &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no order %lld", (long long)order_id);
    rc = fill(rows, &c, e);
    if (rc) {
        confirmation_release(&c);
        return rc;
    }
    *ret_confirmation = c;
    return ERR_OK;
}
