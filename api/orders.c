/* SPDX-License-Identifier: MIT
 *
 * /api/orders/ and the current order of /payment/order/ and /market/order/.
 */
#include "common/orders.h"

#include <inttypes.h>
#include <string.h>

#include "api/admission.h"
#include "api/api.h"
#include "api/fields.h"
#include "api/once.h"
#include "api/resource.h"
#include "common/buf.h"
#include "common/jobs.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/money.h"
#include "common/payments.h"
#include "common/shop.h"

static const char *const statuses[] = {
#define X(name, text) text,
    ORDER_STATES(X)
#undef X
        NULL,
};

static const struct resource_field filters[] = {
    {.name = "order_status", .kind = RESOURCE_CHOICE, .choices = statuses},
    {.name = "total_min", .kind = RESOURCE_DECIMAL, .max = MONEY_MAX},
    {.name = "total_max", .kind = RESOURCE_DECIMAL, .max = MONEY_MAX},
};

static const struct resource resource = {
    .sql = &orders_sql,
    .filters = filters,
    .filters_count = COUNT_OF(filters),
};

/* ---- reading ---- */

RESOURCE_OWN_READERS(orders)

static void reply_text(struct reply *reply, int status, const char *json)
{
    reply_bytes(reply, status, "application/json", json, strlen(json));
}

enum err_code orders_current(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = orders_find_payable(api_db(req), req->user.id, &rows, e);

    if (!rc)
        reply_text(reply, 200, db_text(rows, 0, 0));
    return rc;
}

enum err_code orders_placed(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = orders_find_placed(api_db(req), req->user.id, &rows, e);

    if (!rc)
        reply_text(reply, 200, db_text(rows, 0, 0));
    return rc;
}

/* ---- making ---- */

struct wish {
    struct order_line lines[ORDER_ITEMS_MAX];
    size_t count;
    int64_t cart_id; /* 0: the lines came with the request */
    json_t *errors;  /* owned: one object a line; empty for a cart */
    bool is_good;
};

static void cart_release(struct wish *cart) { json_decref(cart->errors); }

static void read_line(const json_t *item, struct wish *cart)
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
static enum err_code check_products(struct request *req, struct wish *cart, struct err *e)
{
    bool exists[ORDER_ITEMS_MAX] = {false};
    enum err_code rc = orders_check_products(api_db(req), cart->lines, cart->count, exists, e);

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
    (void)fields_is_given(&f, "items");
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
static void reply_refusal(struct reply *reply, const struct wish *cart,
                          const struct order_refusal *refusal)
{
    int64_t product_id = cart->lines[refusal->at].product_id;
    char text[96] = "The total of the order is too large.";

    if (refusal->reason == ORDER_REFUSED_UNKNOWN && cart->cart_id == 0) {
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

static enum err_code no_cart(struct reply *reply, int64_t cart_id)
{
    AUTO_VALUE(fields_release) struct fields f = {0};

    fields_begin_nested(&f, NULL);
    fields_error_no_object(&f, "cart_id", cart_id);
    (void)fields_end(&f, reply);
    return ERR_OK;
}

/* Empties the cart into the wish. The reply is filled when it cannot be ordered. */
static enum err_code take_cart(struct request *req, struct reply *reply, struct wish *cart,
                               struct err *e)
{
    struct err failure = {0};
    enum err_code rc = orders_take_cart(api_db(req), req->user.id, cart->cart_id, cart->lines,
                                        &cart->count, &failure);

    if (rc == ERR_NOT_FOUND)
        return no_cart(reply, cart->cart_id);
    if (rc)
        return err_set_detail(e, rc, failure.detail, "%s", failure.text);
    if (cart->count == 0)
        fields_reply_error(reply, "cart_id", "The cart is empty.");
    else if (cart->count > ORDER_ITEMS_MAX)
        fields_reply_error(reply, "cart_id", "The cart holds more than 100 products.");
    for (size_t i = 0; i < cart->count && i < ORDER_ITEMS_MAX; i++)
        if (cart->lines[i].quantity > ORDER_QUANTITY_MAX)
            fields_reply_error(reply, "cart_id", "The cart holds too much of a product.");
    return ERR_OK;
}

static enum err_code create(struct request *req, struct reply *reply, void *data, struct err *e)
{
    AUTO(mem_free) char *json = NULL;
    struct wish *cart = data;
    struct order_refusal refusal;
    struct err failure = {0};
    enum err_code rc = cart->cart_id ? take_cart(req, reply, cart, e) : ERR_OK;

    if (rc || reply->status >= 400)
        return rc;
    rc = orders_create(api_db(req), req->user.id, cart->lines, cart->count, &json, &refusal,
                       &failure);
    if (rc == ERR_CONFLICT) {
        reply_refusal(reply, cart, &refusal);
        return ERR_OK;
    }
    if (rc)
        return err_set_detail(e, rc, failure.detail, "%s", failure.text);
    reply_text(reply, 201, json);
    return ERR_OK;
}

static enum err_code add_from_cart(struct request *req, struct wish *cart, struct reply *reply,
                                   struct err *e)
{
    AUTO_VALUE(fields_release) struct fields f = {0};

    if (!fields_begin(&f, req->data, reply))
        return ERR_OK;
    (void)fields_id(&f, "cart_id", &cart->cart_id);
    if (!fields_end(&f, reply))
        return ERR_OK;
    return once_run(req, reply, &(struct once_work){.run = create, .data = cart}, e);
}

enum err_code orders_add(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(cart_release) struct wish cart = {.errors = json_array(), .is_good = true};
    const json_t *items = json_object_get(req->data, "items");

    if (!admission_is_open(req, reply))
        return ERR_OK;
    if (!items && json_object_get(req->data, "cart_id"))
        return add_from_cart(req, &cart, reply, e);
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

/* ---- ending ---- */

/* What stands in the way of an order that is not what was hoped. */
static const char *text_of_state(enum order_state state)
{
    static const char *const texts[] = {
        [ORDER_PENDING] = "Order is not paid.",
        [ORDER_PAID] = "Order is already paid.",
        [ORDER_PAYMENT_FAILED] = "Order is not paid.",
        [ORDER_CANCELLED] = "Order is already cancelled.",
        [ORDER_EXPIRED] = "Order has expired.",
        [ORDER_REFUNDED] = "Order is already refunded.",
    };

    return texts[state];
}

static enum err_code show_order(struct request *req, int64_t id, struct reply *reply, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = resource_find(api_db(req), &orders_sql, req->user.id, id, &rows, e);

    if (!rc)
        reply_text(reply, 200, db_text(rows, 0, 0));
    return rc;
}

static enum err_code cancel(struct request *req, struct reply *reply, void *data, struct err *e)
{
    const int64_t *id = data;
    bool is_cancelled = false;
    enum order_state state = ORDER_PENDING;
    enum err_code rc = orders_cancel(api_db(req), req->user.id, *id, &is_cancelled, e);

    if (!rc)
        rc = orders_read_state(api_db(req), req->user.id, *id, &state, e);
    if (rc)
        return rc;
    if (is_cancelled)
        return show_order(req, *id, reply, e);
    fields_reply_error(reply, "order_status", text_of_state(state));
    return ERR_OK;
}

/* No job: nothing outside of the database has to be asked. A payment that is under way and succeeds
 * all the same finds its order cancelled, and its own job refunds it. */
enum err_code orders_cancel_one(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(fields_release) struct fields f = {0};
    int64_t id;

    if (!api_path_id(req, &id))
        return err_set(e, ERR_NOT_FOUND, "there is no such order");
    if (!fields_begin(&f, req->data, reply) || !fields_end(&f, reply))
        return ERR_OK;
    return once_run(req, reply, &(struct once_work){.run = cancel, .data = &id}, e);
}

struct refund {
    int64_t order_id;
    struct job_ready job;
};

static enum err_code start_refund(struct request *req, struct reply *reply, void *data,
                                  struct err *e)
{
    struct refund *refund = data;
    struct db *db = api_db(req);
    enum order_state state = ORDER_PENDING;
    struct uuid payment = {0};
    char location[80];
    enum err_code rc = orders_find_refundable(db, refund->order_id, &state, &payment, e);

    if (rc)
        return rc;
    if (state != ORDER_PAID) {
        fields_reply_error(reply, "order_status", text_of_state(state));
        return ERR_OK;
    }
    rc = payments_add_refund(db, &payment, &refund->job, e);
    if (rc)
        return rc;
    if (text_format(location, sizeof location, "/api/orders/%" PRId64 "/", refund->order_id))
        reply_header(reply, "Location", location);
    return reply_json(reply, 202,
                      json_pack("{s:I, s:s, s:s}", "order_id", (json_int_t)refund->order_id,
                                "payment_id", payment.text, "task_id", refund->job.id.text),
                      e);
}

static void push_refund(struct request *req, void *data)
{
    const struct refund *refund = data;

    api_push(req, &refund->job);
}

/* The gateway is asked by a job; two of them ask with the same key, and it pays back once. */
enum err_code orders_refund(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(fields_release) struct fields f = {0};
    struct refund refund = {0};

    if (!api_path_id(req, &refund.order_id))
        return err_set(e, ERR_NOT_FOUND, "there is no such order");
    if (!fields_begin(&f, req->data, reply) || !fields_end(&f, reply))
        return ERR_OK;
    return once_run(
        req, reply,
        &(struct once_work){.run = start_refund, .committed = push_refund, .data = &refund}, e);
}
