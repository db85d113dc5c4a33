/* SPDX-License-Identifier: MIT
 *
 * Lists in pages, as Django REST framework's PageNumberPagination gives them: ?page= from 1,
 * ?page_size= up to PAGE_SIZE_MAX; {"count", "next", "previous", "results"}.
 */
#ifndef API_PAGE_H
#define API_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/http.h"

enum { PAGE_SIZE = 20, PAGE_SIZE_MAX = 100 };

struct page {
    int64_t number; /* 1 is the first */
    int64_t size;
    int64_t offset;
    bool is_last; /* ?page=last: its number is known once the list is counted */
};

/* Reads the parameters of a page. False: the reply is the 404 of a page that is no number. */
bool page_read(const struct request *req, struct page *ret_page, struct reply *reply);

/* Once the list is counted: true when `page` was the last one, which has its number now, and its
 * items have yet to be read. */
bool page_settle(struct page *page, int64_t total);

/* The answer: `results` is the text of a JSON array. A page beyond the last is 404. */
enum err_code page_reply(const struct request *req, const struct page *page, int64_t total,
                         const char *results, struct reply *reply, struct err *e) MUST_CHECK;

#endif
