/* SPDX-License-Identifier: MIT
 *
 * /api/categories/ and /api/products/: reading the catalogue.
 */
#include "api/api.h"
#include "api/page.h"
#include "common/money.h"
#include "common/products.h"

static json_t *category_json(const struct category *category)
{
    return json_pack("{s:I, s:s, s:s, s:s, s:o}", "id", (json_int_t)category->id, "name",
                     category->name, "created_at", category->created_at, "updated_at",
                     category->updated_at, "parent_id",
                     category->parent_id ? json_integer(category->parent_id) : json_null());
}

static json_t *product_json(const struct product *product)
{
    char price[MONEY_TEXT_SIZE];

    money_format(product->price, price);
    return json_pack("{s:I, s:s, s:s, s:s, s:I, s:s, s:s, s:I}", "id", (json_int_t)product->id,
                     "name", product->name, "description", product->description, "price", price,
                     "stock_quantity", (json_int_t)product->stock_quantity, "created_at",
                     product->created_at, "updated_at", product->updated_at, "category_id",
                     (json_int_t)product->category_id);
}

static enum err_code add_categories(const struct request *req, const struct page *page,
                                    json_t *results, int64_t *ret_total, struct err *e)
{
    AUTO_VALUE(categories_release) struct categories list = {0};
    enum err_code rc =
        categories_list(api_of(req)->db, page->size, page->offset, &list, ret_total, e);

    for (size_t i = 0; !rc && i < list.count; i++)
        (void)json_array_append_new(results, category_json(&list.items[i]));
    return rc;
}

enum err_code categories_index(struct request *req, struct reply *reply, struct err *e)
{
    return page_list(req, reply, add_categories, e);
}

enum err_code categories_show(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(category_release) struct category category = {0};
    int64_t id;
    enum err_code rc;

    if (!api_path_id(req, &id))
        return err_set(e, ERR_NOT_FOUND, "there is no such category");
    rc = categories_find(api_of(req)->db, id, &category, e);
    return rc ? rc : reply_json(reply, 200, category_json(&category), e);
}

static enum err_code add_products(const struct request *req, const struct page *page,
                                  json_t *results, int64_t *ret_total, struct err *e)
{
    AUTO_VALUE(products_release) struct products list = {0};
    enum err_code rc =
        products_list(api_of(req)->db, page->size, page->offset, &list, ret_total, e);

    for (size_t i = 0; !rc && i < list.count; i++)
        (void)json_array_append_new(results, product_json(&list.items[i]));
    return rc;
}

enum err_code products_index(struct request *req, struct reply *reply, struct err *e)
{
    return page_list(req, reply, add_products, e);
}

enum err_code products_show(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(product_release) struct product product = {0};
    int64_t id;
    enum err_code rc;

    if (!api_path_id(req, &id))
        return err_set(e, ERR_NOT_FOUND, "there is no such product");
    rc = products_find(api_of(req)->db, id, &product, e);
    return rc ? rc : reply_json(reply, 200, product_json(&product), e);
}
