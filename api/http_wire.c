/* SPDX-License-Identifier: MIT
 *
 * Reading and writing through civetweb 1.15, with its gaps closed: it accepts header lines that
 * end a header early or fold, reads a body for as long as it trickles, and knows no limit of it.
 */
#include "api/http_wire.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#include "api/framing.h"
#include "api/sockets.h"
#include "common/clock.h"
#include "common/mem.h"

enum {
    /* Below this a body is read byte by byte: most of it stands in civetweb's buffer already. */
    BODY_SMALL = 4096,
    HEAD_MAX = 16 * 1024,
    HEAD_USUAL = 1024,   /* of an answer */
    ANSWER_USUAL = 2048, /* with its body */
    DRAIN_US = 500 * 1000,
};

/* civetweb cuts the head in place, by writing NULs over its separators. Where it stopped early (a
 * folded line) or was lenient (a bare LF, a blank before the colon, two blanks in the request line)
 * the bytes between the pieces tell. Well-formed is:
 *   METHOD NUL URI ... VERSION NUL NUL NAME NUL blanks VALUE NUL NUL NAME ... VALUE NUL NUL CR NUL
 * and, where no header is, as probes in HTTP/1.0 have it: METHOD NUL URI ... VERSION NUL NUL NUL
 * NUL
 */
static bool is_strict_head(const struct mg_request_info *info)
{
    const char *start = info->request_method;
    const char *next = info->http_version + strlen(info->http_version) + 2;

    if (info->request_uri != start + strlen(start) + 1)
        return false;
    for (int i = 0; i < info->num_headers; i++) {
        const struct mg_header *header = &info->http_headers[i];
        const char *gap = header->name + strlen(header->name) + 1;
        const char *end = header->value + strlen(header->value);

        while (gap < header->value && (*gap == ' ' || *gap == '\t'))
            gap++;
        if (header->name != next || gap != header->value || end - start > HEAD_MAX - 4 || end[1])
            return false;
        next = end + 2;
    }
    if (info->num_headers == 0)
        return next - start <= HEAD_MAX - 2 && !next[0] && !next[1];
    return next[0] == '\r' && next[1] == '\0';
}

static bool is_same_name(const char *a, const char *b)
{
    /* Most differ in their first letter, whatever its case. */
    return ((*a ^ *b) & ~0x20) == 0 && strcasecmp(a, b) == 0;
}

const char *wire_header(const struct http_wire *wire, const char *name)
{
    for (int i = 0; i < wire->info->num_headers; i++)
        if (is_same_name(wire->info->http_headers[i].name, name))
            return wire->info->http_headers[i].value;
    return NULL;
}

int wire_check(const struct http_wire *wire, int64_t *ret_length, const char **ret_text)
{
    const struct mg_request_info *info = wire->info;
    struct header headers[FRAMING_HEADERS_MAX];
    size_t count = (size_t)info->num_headers;
    const char *target = info->request_uri;
    int status;

    for (size_t i = 0; i < count && i < FRAMING_HEADERS_MAX; i++)
        headers[i] = (struct header){info->http_headers[i].name, info->http_headers[i].value};
    status = framing_check(info->request_method, target, info->http_version, headers, count,
                           ret_length, ret_text);
    if (status)
        return status;
    if (!is_strict_head(info)) {
        *ret_text = "Malformed header.";
        return 400;
    }
    return 0;
}

static int read_whole(const struct http_wire *wire, int64_t length, int64_t deadline_us,
                      struct buf *body, const char **ret_text)
{
    char part[16 * 1024];
    int fd = length > BODY_SMALL
                 ? socket_find_peer(wire->info->remote_addr, wire->info->remote_port)
                 : -1;

    while ((int64_t)body->len < length) {
        int64_t left = length - (int64_t)body->len;
        /* mg_read() returns when all it was asked for is there, however slowly it comes. What the
         * kernel holds is there at once; beyond that, one byte is bounded by request_timeout_ms. */
        int ready = fd >= 0 ? socket_readable(fd) : 0;
        size_t want = ready > 1 ? (size_t)ready : 1;
        int got;

        if (want > sizeof part)
            want = sizeof part;
        if ((int64_t)want > left)
            want = (size_t)left;
        got = clock_mono_us() < deadline_us ? mg_read(wire->conn, part, want) : 0;
        if (got <= 0) {
            *ret_text = "The request body did not arrive.";
            return 408;
        }
        buf_add(body, part, (size_t)got);
    }
    return 0;
}

int wire_read_body(const struct http_wire *wire, int64_t length, int64_t deadline_us,
                   struct buf *body, const char **ret_text)
{
    const char *expect = wire_header(wire, "Expect");

    if (expect && strcasecmp(expect, "100-continue") != 0) {
        *ret_text = "Expectation failed.";
        return 417;
    }
    if (expect && length > 0 && mg_write(wire->conn, "HTTP/1.1 100 Continue\r\n\r\n", 25) != 25) {
        *ret_text = "The connection was closed.";
        return 400;
    }
    return length > 0 ? read_whole(wire, length, deadline_us, body, ret_text) : 0;
}

bool wire_wants_keep_alive(const struct http_wire *wire)
{
    const char *connection = wire_header(wire, "Connection");

    return wire->is_ours && !wire->unread && strcmp(wire->info->http_version, "1.1") == 0 &&
           (!connection || strcasecmp(connection, "keep-alive") == 0);
}

static void add_header(struct buf *out, const char *name, const char *value, size_t len)
{
    buf_add_str(out, name);
    buf_add(out, ": ", 2);
    buf_add(out, value, len);
    buf_add(out, "\r\n", 2);
}

static void add_date(struct buf *out)
{
    static _Thread_local time_t last; /* for which `text` was made */
    static _Thread_local char text[48];
    static _Thread_local size_t len;
    time_t now = (time_t)(clock_wall_us() / US_PER_S);
    struct tm tm;

    if (now != last && gmtime_r(&now, &tm)) {
        len = strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        last = now;
    }
    buf_add(out, text, len);
}

/* Whether the handler has set a header that every answer carries otherwise. */
static bool is_overridden(const struct reply *reply, const char *name)
{
    for (size_t i = 0; i < reply->headers_count; i++)
        if (is_same_name(reply->headers[i].name, name))
            return true;
    return false;
}

void wire_join_headers(const struct header *headers, struct buf *out)
{
    for (; headers->name; headers++)
        add_header(out, headers->name, headers->value, strlen(headers->value));
}

static void add_headers(const struct header *headers, const struct buf *joined,
                        const struct reply *reply, struct buf *out)
{
    bool any = false;

    for (const struct header *header = headers; header->name && !any; header++)
        any = is_overridden(reply, header->name);
    if (!any)
        buf_add(out, joined->data, joined->len);
    else
        for (; headers->name; headers++)
            if (!is_overridden(reply, headers->name))
                add_header(out, headers->name, headers->value, strlen(headers->value));
    for (size_t i = 0; i < reply->headers_count; i++)
        add_header(out, reply->headers[i].name, reply->headers[i].value, reply->headers[i].len);
}

static void add_status(int status, struct buf *out)
{
    buf_add_str(out, "HTTP/1.1 ");
    buf_add_int(out, status);
    buf_add_char(out, ' ');
    buf_add_str(out, http_reason(status));
    buf_add_str(out, "\r\n");
}

void wire_write(const struct http_wire *wire, const struct server_config *config,
                const struct buf *joined, const char *request_id, bool is_head, bool close,
                struct reply *reply)
{
    AUTO_VALUE(buf_release) struct buf out;
    char space[ANSWER_USUAL];
    bool has_body = reply->status != 204 && reply->status != 304;

    buf_init_in(&out, space, sizeof space, HTTP_REPLY_MAX + HEAD_MAX);
    buf_reserve(&out, HEAD_USUAL + reply->body.len);
    add_status(reply->status, &out);
    add_date(&out);
    if (has_body) {
        add_header(&out, "Content-Type", reply->type, strlen(reply->type));
        buf_add_str(&out, "Content-Length: ");
        buf_add_int(&out, (int64_t)reply->body.len);
        buf_add(&out, "\r\n", 2);
    }
    add_headers(config->headers, joined, reply, &out);
    add_header(&out, "X-Request-Id", request_id, strlen(request_id));
    buf_add_str(&out, close ? "Connection: close\r\n\r\n" : "Connection: keep-alive\r\n\r\n");
    if (has_body && !is_head)
        buf_add(&out, reply->body.data, reply->body.len);
    if (close)
        mg_disable_connection_keep_alive(wire->conn);
    (void)mg_write(wire->conn, out.data, out.len);
    if (wire->unread) {
        int fd = socket_find_peer(wire->info->remote_addr, wire->info->remote_port);

        if (fd >= 0)
            socket_drain(fd, DRAIN_US);
    }
}
