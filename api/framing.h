/* SPDX-License-Identifier: MIT
 *
 * What a request must look like before anybody reads further: two readers of one connection (a
 * proxy and we) must see the same requests, so whatever is ambiguous is refused. RFC 9112 sections
 * 2.2, 3.2, 5 and 6. Pure.
 */
#ifndef API_FRAMING_H
#define API_FRAMING_H

#include <stddef.h>
#include <stdint.h>

#include "api/http.h"

enum { FRAMING_HEADERS_MAX = 64 }; /* civetweb drops what is beyond, without a word */

/* 0 when the request may be read on; then *ret_length is the length of its body. Else the status
 * to refuse it with, and *ret_text for the client. */
int framing_check(const char *method, const char *uri, const char *version,
                  const struct header *headers, size_t count, int64_t *ret_length,
                  const char **ret_text);

#endif
