/* SPDX-License-Identifier: MIT
 *
 * Queries of lists: page, page size, ordering and filters of each kind. They are refused with the
 * reason, or a page within its limits is asked for, whose links lead to the pages beside it and
 * keep all that the query asked for besides.
 */
#include "tests/fuzz/target.h"

#include "api/page.h"
#include "api/resource.h"
#include "api/http_wire.h"
#include "common/auto.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/money.h"

enum { PAGES_TOTAL = 1000, PAGES_QUERY_MAX = 8 * 1024 };

static const char *const pages_states[] = {"pending", "paid", NULL};
static const struct resource_field pages_filters[] = {
    {.name = "category_id", .kind = RESOURCE_ID},
    {.name = "price_min", .kind = RESOURCE_DECIMAL, .max = MONEY_MAX},
    {.name = "search", .kind = RESOURCE_TEXT, .max = 255},
    {.name = "in_stock", .kind = RESOURCE_BOOL},
    {.name = "order_status", .kind = RESOURCE_CHOICE, .choices = pages_states},
    {.name = "rating_min", .kind = RESOURCE_INT, .min = 1, .max = 5},
};
static const struct db_stmt pages_stmt = {"pages", "SELECT", 3 + COUNT_OF(pages_filters)};
static const struct resource_order pages_orders[] = {{"id", &pages_stmt}, {NULL, NULL}};
static const struct resource_sql pages_sql = {.lists = pages_orders};
static const struct resource pages_resource = {
    .sql = &pages_sql,
    .filters = pages_filters,
    .filters_count = COUNT_OF(pages_filters),
};

static json_t *pages_object(const struct reply *reply)
{
    json_t *object = NULL;

    MUST(!json_read(reply->body.data, reply->body.len, HTTP_REPLY_MAX, &object, NULL));
    MUST(json_is_object(object));
    return object;
}

/* The whole handler, as far as a database that is never there lets it come. */
static void pages_ask(struct request *req)
{
    AUTO_VALUE(reply_release) struct reply reply;
    enum err_code rc;

    reply_init(&reply);
    rc = resource_index(&pages_resource, req, &reply, NULL);
    MUST(rc == ERR_UNAVAILABLE || rc == ERR_OK);
    if (rc == ERR_OK) {
        MUST(reply.status == 400 || reply.status == 404);
        json_decref(pages_object(&reply));
    }
}

/* The link has the parameters of the query but for its page. */
static void pages_follow(const struct request *req, const struct page *page, const char *link,
                         int64_t number)
{
    struct request next = *req;
    const char *query = strchr(link, '?');
    AUTO_VALUE(reply_release) struct reply reply;
    struct page got;

    MUST(strncmp(link, "http://", strlen("http://")) == 0);
    next.query = query ? query + 1 : "";
    reply_init(&reply);
    MUST(page_read(&next, &got, &reply));
    MUST(got.number == number && got.size == page->size);
    for (size_t i = 0; i < COUNT_OF(pages_filters); i++) {
        AUTO(mem_free) char *before = request_query(req, pages_filters[i].name);
        AUTO(mem_free) char *after = request_query(&next, pages_filters[i].name);

        MUST((before != NULL) == (after != NULL) && (!before || strcmp(before, after) == 0));
    }
}

static void pages_check_links(const struct request *req, const struct page *page)
{
    AUTO(json_decref) json_t *answer = NULL;
    AUTO_VALUE(reply_release) struct reply reply;
    const char *next;
    const char *previous;

    reply_init(&reply);
    MUST(!page_reply(req, page, PAGES_TOTAL, "[]", &reply, NULL));
    answer = pages_object(&reply);
    if (reply.status == 404) {
        MUST(page->offset >= PAGES_TOTAL && page->number > 1);
        return;
    }
    next = json_string_value(json_object_get(answer, "next"));
    previous = json_string_value(json_object_get(answer, "previous"));
    MUST((next != NULL) == (page->offset + page->size < PAGES_TOTAL));
    MUST((previous != NULL) == (page->number > 1));
    if (next)
        pages_follow(req, page, next, page->number + 1);
    if (previous)
        pages_follow(req, page, previous, page->number - 1);
}

/* What gets past framing.c: no blank, no control character. */
static bool pages_is_sent(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] <= 0x20 || text[i] == 0x7f)
            return false;
    return size <= PAGES_QUERY_MAX;
}

FUZZ_TARGET(pages, text, size)
{
    const struct mg_request_info head = {.num_headers = 0};
    struct http_wire wire = {.info = &head};
    struct api api = {0};
    struct backends none = {.db = db_open(NULL, "")};
    struct request req = {
        .method = "GET", .path = "/api/products/", .query = text, .context = &api, .wire = &wire};
    AUTO_VALUE(reply_release) struct reply reply;
    struct page page;

    reply_init(&reply);
    api.backends = &none;
    if (pages_is_sent(text, size)) {
        pages_ask(&req);
        if (page_read(&req, &page, &reply)) {
            MUST(page.number >= 1 && page.size >= 1 && page.size <= PAGE_SIZE_MAX);
            MUST(page.offset == (page.number - 1) * page.size);
            pages_check_links(&req, &page);
        } else {
            MUST(reply.status == 404);
        }
    }
    db_close(none.db);
}
