/* SPDX-License-Identifier: MIT
 *
 * Filling a reply, and reading parameters of queries and forms: the parts of http.h that need no
 * server and no civetweb.
 */
#include "api/http.h"

#include <string.h>
#include <strings.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"

enum { FORM_PAIRS_MAX = 1000 };

void reply_init(struct reply *reply)
{
    reply->status = 200;
    reply->type = "application/json";
    reply->headers_count = 0;
    reply->values_len = 0;
    reply->close = false;
    buf_init(&reply->body, HTTP_REPLY_MAX);
}

static bool is_in_place(const struct reply *reply, const char *value)
{
    return value >= reply->values && value < reply->values + sizeof reply->values;
}

static void drop_headers(struct reply *reply)
{
    for (size_t i = 0; i < reply->headers_count; i++)
        if (!is_in_place(reply, reply->headers[i].value))
            mem_free(reply->headers[i].value);
    reply->headers_count = 0;
    reply->values_len = 0;
}

void reply_release(struct reply *reply)
{
    drop_headers(reply);
    buf_release(&reply->body);
}

void reply_clear(struct reply *reply)
{
    drop_headers(reply);
    buf_clear(&reply->body);
    reply->status = 200;
    reply->type = "application/json";
    reply->close = false;
}

/* A copy of the value, NUL-terminated. */
static char *copy_value(struct reply *reply, const char *value, size_t len)
{
    char *copy = reply->values + reply->values_len;

    if (len >= sizeof reply->values - reply->values_len)
        return mem_dup_n(value, len);
    memcpy(copy, value, len);
    copy[len] = '\0';
    reply->values_len += len + 1;
    return copy;
}

void reply_header(struct reply *reply, const char *name, const char *value)
{
    size_t at = reply->headers_count;
    size_t len = text_plain_span(value, strlen(value));

    if (at == HTTP_HEADERS_MAX)
        return;
    reply->headers[at].name = name;
    reply->headers[at].value = copy_value(reply, value, len);
    reply->headers[at].len = len;
    reply->headers_count++;
}

static int add_dumped(const char *text, size_t len, void *data)
{
    struct buf *body = data;

    buf_add(body, text, len);
    return body->overflow ? -1 : 0;
}

enum err_code reply_json(struct reply *reply, int status, json_t *take_value, struct err *e)
{
    AUTO(json_decref) json_t *value = take_value;

    buf_clear(&reply->body);
    reply->status = status;
    reply->type = "application/json";
    if (!value)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (json_dump_callback(value, add_dumped, &reply->body, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
        return err_set(e, ERR_INTERNAL, "the answer is too large or no UTF-8");
    return ERR_OK;
}

void reply_detail(struct reply *reply, int status, const char *text)
{
    buf_clear(&reply->body);
    reply->status = status;
    reply->type = "application/json";
    buf_add_str(&reply->body, "{\"detail\":");
    buf_add_json(&reply->body, text);
    buf_add_char(&reply->body, '}');
}

void reply_bytes(struct reply *reply, int status, const char *type, const void *data, size_t len)
{
    buf_clear(&reply->body);
    reply->status = status;
    reply->type = type;
    buf_add(&reply->body, data, len);
}

void reply_redirect(struct reply *reply, int status, const char *location)
{
    reply_bytes(reply, status, "text/html; charset=utf-8", "", 0);
    reply_header(reply, "Location", location);
}

int http_status_of(enum err_code code)
{
    switch (code) {
    case ERR_OK:
        return 200;
    case ERR_INVALID:
        return 400;
    case ERR_DENIED:
        return 403;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_CONFLICT:
        return 409;
    case ERR_UNAVAILABLE:
    case ERR_TIMEOUT:
    case ERR_NOMEM:
        return 503;
    case ERR_PROTOCOL:
        return 502;
    case ERR_INTERNAL:
        break;
    }
    return 500;
}

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Entity"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < COUNT_OF(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Other";
}

/* ---- parameters ---- */

bool request_is_safe(const struct request *req)
{
    return strcmp(req->method, "GET") == 0 || strcmp(req->method, "HEAD") == 0 ||
           strcmp(req->method, "OPTIONS") == 0;
}

const char *request_param(const struct request *req, size_t index)
{
    return index < req->match.params_count ? req->match.params[index] : "";
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) % 16 : -1;
}

/* Decodes '+' and %XX into a new text. NULL: bad UTF-8, or a NUL in it. */
static char *decode(const char *text, size_t len)
{
    AUTO(mem_free) char *out = mem_alloc(len + 1);
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        int high = text[i] == '%' && i + 2 < len ? hex_digit(text[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text[i + 2]) : -1;

        if (low >= 0) {
            out[n++] = (char)(high * 16 + low);
            i += 2;
        } else {
            out[n++] = text[i] == '+' ? ' ' : text[i];
        }
    }
    return text_is_utf8(out, n) && strlen(out) == n ? TAKE(out) : NULL;
}

enum err_code form_each(const char *form, size_t len,
                        enum err_code (*each)(void *data, const char *name, const char *value,
                                              struct err *e),
                        void *data, struct err *e)
{
    const char *end = form + len;
    int pairs = 0;

    while (form < end) {
        const char *amp = memchr(form, '&', (size_t)(end - form));
        const char *stop = amp ? amp : end;
        const char *equals = memchr(form, '=', (size_t)(stop - form));
        const char *name_end = equals ? equals : stop;
        const char *value_at = equals ? equals + 1 : stop;

        if (stop > form) {
            AUTO(mem_free) char *name = decode(form, (size_t)(name_end - form));
            AUTO(mem_free) char *value = decode(value_at, (size_t)(stop - value_at));
            enum err_code rc;

            if (!name || !value)
                return err_set(e, ERR_INVALID, "the form is not UTF-8");
            if (++pairs > FORM_PAIRS_MAX)
                return err_set(e, ERR_INVALID, "the form has over %d fields", FORM_PAIRS_MAX);
            rc = each(data, name, value, e);
            if (rc)
                return rc;
        }
        form = amp ? amp + 1 : end;
    }
    return ERR_OK;
}

bool form_is_name(const char *text, size_t len, const char *name)
{
    AUTO(mem_free) char *decoded = NULL;

    if (strlen(name) == len && strncmp(text, name, len) == 0)
        return true;
    if (!memchr(text, '%', len))
        return false;
    decoded = decode(text, len);
    return decoded && strcmp(decoded, name) == 0;
}

char *form_value(const char *form, const char *name)
{
    const char *found = NULL;
    size_t found_len = 0;

    for (const char *p = form; *p;) {
        size_t len = strcspn(p, "&");
        size_t name_len = strcspn(p, "=&");

        if (name_len < len && form_is_name(p, name_len, name)) {
            found = p + name_len + 1;
            found_len = len - name_len - 1;
        }
        p += len;
        if (*p)
            p++;
    }
    return found ? decode(found, found_len) : NULL;
}

char *request_query(const struct request *req, const char *name)
{
    return form_value(req->query, name);
}

void request_origin(const struct request *req, struct buf *out)
{
    const char *host = request_header(req, "Host");
    const char *proto = request_header(req, "X-Forwarded-Proto");

    buf_addf(out, "%s://%s", proto && strcmp(proto, "https") == 0 ? "https" : "http",
             host ? host : "localhost");
}

bool request_has_type(const struct request *req, const char *type)
{
    const char *given = request_header(req, "Content-Type");
    size_t len = strlen(type);

    return given && strncasecmp(given, type, len) == 0 &&
           (given[len] == '\0' || given[len] == ';' || given[len] == ' ');
}
