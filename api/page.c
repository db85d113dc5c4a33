/* SPDX-License-Identifier: MIT
 *
 * Pagination; see page.h. The links keep all other parameters of the query.
 */
#include "api/page.h"

#include <inttypes.h>
#include <string.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"

enum { PAGE_NUMBER_MAX = 10 * 1000 * 1000, LINK_MAX = 20 * 1024 };

/* False: the reply is the 404 of a page that is no number. */
static bool read_page(const struct request *req, struct page *ret_page, struct reply *reply)
{
    AUTO(mem_free) char *number = request_query(req, "page");
    AUTO(mem_free) char *size = request_query(req, "page_size");
    struct page page = {.number = 1, .size = PAGE_SIZE};

    if (number && !text_to_int(number, 1, PAGE_NUMBER_MAX, &page.number)) {
        reply_detail(reply, 404, "Invalid page.");
        return false;
    }
    /* As in Django REST framework a bad size is the default, and one too large the largest. */
    if (size && !text_to_int(size, 1, INT64_MAX, &page.size))
        page.size = PAGE_SIZE;
    if (page.size > PAGE_SIZE_MAX)
        page.size = PAGE_SIZE_MAX;
    page.offset = (page.number - 1) * page.size;
    *ret_page = page;
    return true;
}

/* The address of this request with another page, or null. Page 1 has no parameter. */
static json_t *link_to(const struct request *req, int64_t number)
{
    AUTO_VALUE(buf_release) struct buf link;
    const char *host = request_header(req, "Host");
    const char *proto = request_header(req, "X-Forwarded-Proto");
    char separator = '?';

    buf_init(&link, LINK_MAX);
    buf_addf(&link, "%s://%s%s", proto && strcmp(proto, "https") == 0 ? "https" : "http",
             host ? host : "localhost", req->path);
    for (const char *p = req->query; *p;) {
        size_t len = strcspn(p, "&");

        if (len > 0 && strncmp(p, "page=", 5) != 0) {
            buf_add_char(&link, separator);
            buf_add(&link, p, len);
            separator = '&';
        }
        p += len + (p[len] == '&');
    }
    if (number > 1)
        buf_addf(&link, "%cpage=%" PRId64, separator, number);
    return json_stringn(link.data, link.len);
}

static enum err_code reply_page(const struct request *req, const struct page *page, int64_t total,
                                json_t *results, struct reply *reply, struct err *e)
{
    json_t *next = NULL;
    json_t *previous = NULL;

    if (page->number > 1 && page->offset >= total) {
        reply_detail(reply, 404, "Invalid page.");
        return ERR_OK;
    }
    if (page->offset + page->size < total)
        next = link_to(req, page->number + 1);
    if (page->number > 1)
        previous = link_to(req, page->number - 1);
    return reply_json(reply, 200,
                      json_pack("{s:I, s:o, s:o, s:O}", "count", (json_int_t)total, "next",
                                next ? next : json_null(), "previous",
                                previous ? previous : json_null(), "results", results),
                      e);
}

enum err_code page_list(struct request *req, struct reply *reply, page_items *items, struct err *e)
{
    AUTO(json_decref) json_t *results = json_array();
    struct page page;
    int64_t total = 0;
    enum err_code rc;

    if (!read_page(req, &page, reply))
        return ERR_OK;
    rc = items(req, &page, results, &total, e);
    return rc ? rc : reply_page(req, &page, total, results, reply, e);
}
