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

enum { PAGE_NUMBER_MAX = 10 * 1000 * 1000, LINK_MAX = 64 * 1024 };

bool page_read(const struct request *req, struct page *ret_page, struct reply *reply)
{
    AUTO(mem_free) char *number = request_query(req, "page");
    AUTO(mem_free) char *size = request_query(req, "page_size");
    struct page page = {.number = 1, .size = PAGE_SIZE};

    page.is_last = number && strcmp(number, "last") == 0;
    if (number && *number && !page.is_last &&
        !text_to_int(number, 1, PAGE_NUMBER_MAX, &page.number)) {
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

bool page_settle(struct page *page, int64_t total)
{
    if (!page->is_last)
        return false;
    page->is_last = false;
    page->number = total > 0 ? (total - 1) / page->size + 1 : 1;
    page->offset = (page->number - 1) * page->size;
    return page->number > 1; /* the first one has been read */
}

/* What a client has sent as bytes beyond ASCII goes back encoded: JSON could not carry all of them,
 * and a link with others would ask for something else. */
static void add_pair(struct buf *link, const char *pair, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)pair[i] < 0x80)
            buf_add_char(link, pair[i]);
        else
            buf_addf(link, "%%%02X", (unsigned char)pair[i]);
}

/* The address of this request with another page, as JSON. Page 1 has no parameter. */
static void add_link(struct buf *out, const struct request *req, int64_t number)
{
    AUTO_VALUE(buf_release) struct buf link;
    char separator = '?';

    buf_init(&link, LINK_MAX);
    request_origin(req, &link);
    buf_add_str(&link, req->path);
    for (const char *p = req->query; *p;) {
        size_t len = strcspn(p, "&");
        size_t name_len = strcspn(p, "=&");

        if (len > 0 && (name_len == len || !form_is_name(p, name_len, "page"))) {
            buf_add_char(&link, separator);
            add_pair(&link, p, len);
            separator = '&';
        }
        p += len + (p[len] == '&');
    }
    if (number > 1)
        buf_addf(&link, "%cpage=%" PRId64, separator, number);
    buf_add_json(out, link.data);
}

enum err_code page_reply(const struct request *req, const struct page *page, int64_t total,
                         const char *results, struct reply *reply, struct err *e)
{
    struct buf *body = &reply->body;

    if (page->number > 1 && page->offset >= total) {
        reply_detail(reply, 404, "Invalid page.");
        return ERR_OK;
    }
    reply_bytes(reply, 200, "application/json", "", 0);
    buf_addf(body, "{\"count\":%" PRId64 ",\"next\":", total);
    if (page->offset + page->size < total)
        add_link(body, req, page->number + 1);
    else
        buf_add_str(body, "null");
    buf_add_str(body, ",\"previous\":");
    if (page->number > 1)
        add_link(body, req, page->number - 1);
    else
        buf_add_str(body, "null");
    buf_add_str(body, ",\"results\":");
    buf_add_str(body, results);
    buf_add_char(body, '}');
    return body->overflow ? err_set(e, ERR_INTERNAL, "the answer is too large") : ERR_OK;
}
