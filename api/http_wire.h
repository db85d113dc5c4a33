/* SPDX-License-Identifier: MIT
 *
 * One request off civetweb's connection and one answer onto it; see http_wire.c. For http.c alone.
 */
#ifndef API_HTTP_WIRE_H
#define API_HTTP_WIRE_H

#include <civetweb.h>

#include "api/http.h"

struct http_wire {
    struct mg_connection *conn;
    const struct mg_request_info *info;
    bool is_ours; /* false: civetweb failed before there was a request */
    bool unread;  /* a body is left on the connection, which therefore ends */
};

/* Value of a header (any case), the first of that name, or NULL. */
const char *wire_header(const struct http_wire *wire, const char *name);

/* Looks at what civetweb has parsed. 0, or the status to refuse it with. */
int wire_check(const struct http_wire *wire, int64_t *ret_length, const char **ret_text);

/* Reads exactly `length` bytes into `body` until the deadline. 0 or a status. */
int wire_read_body(const struct http_wire *wire, int64_t length, int64_t deadline_us,
                   struct buf *body, const char **ret_text);

/* The headers that every answer carries as one text, made once for wire_write(). */
void wire_join_headers(const struct header *headers, struct buf *out);

/* Writes the whole answer with one call. `joined` are the headers of `config`. */
void wire_write(const struct http_wire *wire, const struct server_config *config,
                const struct buf *joined, const char *request_id, bool is_head, bool close,
                struct reply *reply);

/* Whether the client wants the connection to stay. */
bool wire_wants_keep_alive(const struct http_wire *wire);

#endif
