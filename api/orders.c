/* SPDX-License-Identifier: MIT
 *
 * /api/orders/ and the current order of /payment/order/ and /market/order/.
 */
#include "common/orders.h"

#include <inttypes.h>
#include <string.h>

#include "api/api.h"
#include "api/fields.h"
#include "api/once.h"
#include "api/page.h"
#include "common/json.h"
#include "common/money.h"

static json_t *order_json(const struct order *order)
{
    json_t *items = json_array();
    char amount[MONEY_TEXT_SIZE];

    for (size_t i = 0; i < order->items_count; i++) {
        const struct order_item *item = &order->items[i];

        money_format(item->price, amount);
        (void)json_array_append_new(items, json_pack("{s:I, s:I, s:I, s:s}", "id",
                                                     (json_int_t)item->id, "product_id",
                                                     (json_int_t)item->product_id, "quantity",
                                                     (json_int_t)item->quantity, "price", amount));
    }
    money_format(order->total, amount);
    return json_pack("{s:I, s:o, s:s, s:s, s:s, s:s, s:I}", "id", (json_int_t)order->id, "items",
                     items, "order_status", order->status, "total_amount", amount, "created_at",
                     order->created_at, "updated_at", order->updated_at, "user_id",
                     (json_int_t)order->user_id);
}

/* ---- reading ---- */

static enum err_code add_orders(const struct request *req, const struct page *page, json_t *results,
                                int64_t *ret_total, struct err *e)
{
    AUTO_VALUE(orders_release) struct orders list = {0};
    enum err_code rc =
        orders_list(api_of(req)->db, req->user.id, page->size, page->offset, &list, ret_total, e);

    for (size_t i = 0; !rc && i < list.count; i++)
        (void)json_array_append_new(results, order_json(&list.items[i]));
    return rc;
}

enum err_code orders_index(struct request *req, struct reply *reply, struct err *e)
{
    return page_list(req, reply, add_orders, e);
}

enum err_code orders_show(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(order_release) struct order order = {0};
    int64_t id;
    enum err_code rc;

    if (!api_path_id(req, &id))
        return err_set(e, ERR_NOT_FOUND, "there is no such order");
    rc = orders_find(api_of(req)->db, req->user.id, id, &order, e);
    return rc ? rc : reply_json(reply, 200, order_json(&order), e);
}

enum err_code orders_current(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(order_release) struct order order = {0};
    enum err_code rc = orders_find_payable(api_of(req)->db, req->user.id, &order, e);

    return rc ? rc : reply_json(reply, 200, order_json(&order), e);
}

/* ---- making ---- */

struct cart {
    struct order_line lines[ORDER_ITEMS_MAX];
    size_t count;
    json_t *errors; /* owned: one object a line */
    bool is_good;
};

static void cart_release(struct cart *cart) { json_decref(cart->errors); }

static void read_line(const json_t *item, struct cart *cart)
{
    AUTO_VALUE(fields_release) struct fields f = {0};
    struct order_line *line = &cart->lines[cart->count++];

    fields_begin_nested(&f, item);
    if (json_is_object(item)) {
        (void)fields_id(&f, "product_id", &line->product_id);
        (void)fields_int(&f, "quantity", 1, ORDER_QUANTITY_MAX, &line->quantity);
        fields_refuse_unknown(&f);
    } else {
        fields_error(&f, "non_field_errors", "Invalid data. Expected a dictionary, but got %s.",
                     fields_type_name(item));
    }
    cart->is_good = cart->is_good && fields_are_good(&f);
    (void)json_array_append(cart->errors, f.errors);
}

static void reply_items(struct reply *reply, json_t *take_errors)
{
    struct err e = {0};

    if (reply_json(reply, 400, json_pack("{s:o}", "items", take_errors), &e))
        reply_detail(reply, 400, "The items are not valid.");
}

static json_t *list_error(const char *text)
{
    return json_pack("{s:[s]}", "non_field_errors", text);
}

/* Notes the lines whose product does not exist, so that they are told with all other faults. */
static enum err_code check_products(struct request *req, struct cart *cart, struct err *e)
{
    bool exists[ORDER_ITEMS_MAX] = {false};
    enum err_code rc = orders_check_products(api_of(req)->db, cart->lines, cart->count, exists, e);

    for (size_t i = 0; !rc && i < cart->count; i++) {
        AUTO_VALUE(fields_release) struct fields f = {0};

        if (exists[i] || cart->lines[i].product_id <= 0)
            continue;
        fields_begin_nested(&f, NULL);
        fields_error_no_object(&f, "product_id", cart->lines[i].product_id);
        (void)json_object_update(json_array_get(cart->errors, i), f.errors);
    }
    return rc;
}

/* Whether the body is {"items": [1 to 100 of them]}. False: the reply is filled. */
static bool read_items(const struct request *req, struct reply *reply)
{
    AUTO_VALUE(fields_release) struct fields f = {0};
    const json_t *items = json_object_get(req->data, "items");
    char text[64];

    if (!fields_begin(&f, req->data, reply))
        return false;
    if (!json_is_array(items)) {
        /* Absent and null are told like any other field's. */
        if (items && !json_is_null(items)) {
            if (!text_format(text, sizeof text, "Expected a list of items but got type \"%s\".",
                             fields_type_name(items)))
                text[0] = '\0';
            reply_items(reply, list_error(text));
            return false;
        }
        (void)fields_text(&f, "items", 0, 0);
        return fields_end(&f, reply);
    }
    f.known[f.known_count++] = "items";
    if (!fields_end(&f, reply))
        return false;
    if (json_array_size(items) == 0)
        reply_items(reply, list_error("This list may not be empty."));
    else if (json_array_size(items) > ORDER_ITEMS_MAX)
        reply_items(reply, list_error("Ensure this field has no more than 100 elements."));
    else
        return true;
    return false;
}

/* What orders_create() refused, in the words of the shop. */
static void reply_refusal(struct reply *reply, const struct cart *cart,
                          const struct order_refusal *refusal)
{
    int64_t product_id = cart->lines[refusal->at].product_id;
    char text[96] = "The total of the order is too large.";

    if (refusal->reason == ORDER_REFUSED_UNKNOWN) {
        AUTO_VALUE(fields_release) struct fields f = {0};

        fields_begin_nested(&f, NULL);
        fields_error_no_object(&f, "product_id", product_id);
        (void)json_object_update(json_array_get(cart->errors, refusal->at), f.errors);
        reply_items(reply, json_incref(cart->errors));
        return;
    }
    if (refusal->reason == ORDER_REFUSED_STOCK &&
        !text_format(text, sizeof text, "Not enough stock for product %" PRId64 ".", product_id))
        text[0] = '\0';
    reply_items(reply, json_pack("[s]", text));
}

static enum err_code create(struct request *req, struct reply *reply, void *data, struct err *e)
{
    AUTO_VALUE(order_release) struct order order = {0};
    const struct cart *cart = data;
    struct order_refusal refusal;
    struct err failure = {0};
    enum err_code rc = orders_create(api_of(req)->db, req->user.id, cart->lines, cart->count,
                                     &order, &refusal, &failure);

    if (rc == ERR_CONFLICT) {
        reply_refusal(reply, cart, &refusal);
        return ERR_OK;
    }
    if (rc)
        return err_set_detail(e, rc, failure.detail, "%s", failure.text);
    return reply_json(reply, 201, order_json(&order), e);
}

enum err_code orders_add(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(cart_release) struct cart cart = {.errors = json_array(), .is_good = true};
    const json_t *items = json_object_get(req->data, "items");

    if (!read_items(req, reply))
        return ERR_OK;
    for (size_t i = 0; i < json_array_size(items); i++)
        read_line(json_array_get(items, i), &cart);
    if (!cart.is_good) {
        enum err_code rc = check_products(req, &cart, e);

        if (!rc)
            reply_items(reply, json_incref(cart.errors));
        return rc;
    }
    return once_run(req, reply, &(struct once_work){.run = create, .data = &cart}, e);
}
