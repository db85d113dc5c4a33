/* SPDX-License-Identifier: MIT
 *
 * HTTP for both programs that speak it. A program gives a table of routes and a few hooks and gets
 * threads, each with a context of its own, that read one whole bounded request, call one handler
 * and write one whole answer. Only http.c and http_wire.c know civetweb.
 *
 *   static enum err_code order_show(struct request *req, struct reply *reply, struct err *e)
 *   {
 *       const char *id = request_param(req, 0);
 *       ...
 *       return reply_json(reply, 200, take_json, e);
 *   }
 *
 * A handler fills the reply and returns ERR_OK, or returns an error: then http.c writes it to the
 * log once, turns the code into a status and gives the client the text that is meant for it. A GET
 * whose handler says ERR_UNAVAILABLE is run a second time, since a connection that died while idle
 * is replaced at its next use.
 */
#ifndef API_HTTP_H
#define API_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "api/router.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/trace.h"

enum {
    HTTP_BODY_MAX = 1024 * 1024,
    HTTP_REPLY_MAX = 16 * 1024 * 1024,
    HTTP_HEADERS_MAX = 16, /* of a reply, besides those that every answer carries */
    HTTP_VALUES_USUAL = 192,
    HTTP_ID_SIZE = 37,
};

/* ---- request ---- */

/* Who asks, as the authorise hook found out; the rest of the tree only reads it. */
struct request_user {
    int64_t id; /* 0: nobody */
    bool is_staff;
    int role; /* the program's own; 0: none */
    char name[64];
};

struct request {
    const char *method;
    const char *path;  /* raw, without query */
    const char *query; /* raw; "" when there is none */
    const char *body;  /* whole, NUL-terminated; "" when there is none */
    size_t body_len;
    json_t *data;        /* the body as a program's admit hook has parsed it; freed by http.c */
    int64_t begun_us;    /* monotonic: when its head was there */
    int64_t deadline_us; /* monotonic: when the answer should be on its way */
    char remote[48];
    char id[HTTP_ID_SIZE]; /* X-Request-Id: the client's, when it is decent, else ours */
    char traceparent[TRACE_TEXT_SIZE]; /* of the client's trace, else of one that begins here */
    struct route_match match;
    struct request_user user;
    void *context; /* of this thread, from thread_new */
    const struct server *server;
    const struct http_wire *wire; /* http.c's alone */
};

/* Path parameter by its place in the pattern, "" when there are fewer. */
const char *request_param(const struct request *req, size_t index);

/* Whether the method is one that changes nothing. */
bool request_is_safe(const struct request *req);

/* Value of a header (any case), or NULL. Borrowed. */
const char *request_header(const struct request *req, const char *name);

/* Adds "https://shop.example": the scheme that the proxy in front tells, and the client's host.
 * Every link that leads back to us begins with it. */
void request_origin(const struct request *req, struct buf *out);

/* Whether the body's media type is `type`, whatever its parameters and case. */
bool request_has_type(const struct request *req, const char *type);

/* The last value of a parameter of the query (as Django and Tornado have it), percent-decoded, or
 * NULL when it is absent or no UTF-8. To be freed with mem_free(). */
char *request_query(const struct request *req, const char *name);

/* The same in any text of the form a=b&c=d: a query or the body of an HTML form. */
char *form_value(const char *form, const char *name);

/* Whether these bytes of such a text are the name, as it is or percent-encoded. */
bool form_is_name(const char *text, size_t len, const char *name);

/* Calls `each` with every decoded pair; stops at the first that is not ERR_OK and returns it.
 * ERR_INVALID when a pair is no UTF-8 or holds a NUL. */
enum err_code form_each(const char *form, size_t len,
                        enum err_code (*each)(void *data, const char *name, const char *value,
                                              struct err *e),
                        void *data, struct err *e) MUST_CHECK;

/* ---- reply ---- */

struct reply {
    int status;
    const char *type; /* media type; a constant */
    struct {
        const char *name; /* a constant */
        char *value;      /* owned, or in `values` */
        size_t len;
    } headers[HTTP_HEADERS_MAX];
    size_t headers_count;
    char values[HTTP_VALUES_USUAL]; /* the first of them, as far as they fit */
    size_t values_len;
    struct buf body;
    bool close; /* the connection ends after this answer */
};

/* A reply stays where it is. */
void reply_init(struct reply *reply);
void reply_release(struct reply *reply);
void reply_clear(struct reply *reply); /* back to as it was after reply_init() */

/* `name` is kept by reference; control characters in the value end it there. */
void reply_header(struct reply *reply, const char *name, const char *value);

/* Takes the value (NULL is ERR_NOMEM); members keep their order. */
enum err_code reply_json(struct reply *reply, int status, json_t *take_value,
                         struct err *e) MUST_CHECK;
/* {"detail": text} */
void reply_detail(struct reply *reply, int status, const char *text);
void reply_bytes(struct reply *reply, int status, const char *type, const void *data, size_t len);
void reply_redirect(struct reply *reply, int status, const char *location);

/* The one place where a code becomes a status. */
int http_status_of(enum err_code code);
const char *http_reason(int status);

/* ---- server ---- */

struct header {
    const char *name;
    const char *value;
};

struct server;

struct server_config {
    const char *listen; /* "127.0.0.1:8000"; port 0 takes a free one */
    int threads;
    const char *prefix; /* "/till": also served below it, for a proxy that leaves it; NULL: none */
    const struct route *routes;
    size_t routes_count;
    const struct header *headers; /* on every answer, whoever made it; ends with a NULL name */
    void *data;                   /* for the hooks below */
    /* Context of a request thread, made and freed in that thread. */
    void *(*thread_new)(void *data);
    void (*thread_free)(void *context);
    /* Asked before what no route answers: 404, 301 to the path with its slash, and 405 of a route
     * whose scope is 0. False: the reply is filled (429). NULL: nothing. */
    bool (*unrouted)(struct request *req, struct reply *reply);
    /* Asked before every handler, 405 and OPTIONS of a route whose scope is not 0. False: the
     * reply is filled (401, 403, a login page) and is sent as it is. */
    bool (*authorise)(struct request *req, struct reply *reply);
    /* After that, before the handler: what holds for a whole program (media types, forbidden
     * data, origins). False as above. NULL: nothing. */
    bool (*admit)(struct request *req, struct reply *reply);
    /* Last of all, on every answer to a request that had a good head: headers that depend on who
     * asks, figures. NULL: nothing. */
    void (*finish)(struct request *req, struct reply *reply);
    /* Body of an answer that no handler made: 404, 405, 413, 500 ... NULL: {"detail": text}. */
    void (*fail)(struct reply *reply, int status, const char *text);
    /* Who asks runs the system, and may read what is not available: of an error its text, without
     * the driver's. */
    bool tells_why;
};

/* Listens and logs {"event":"listening","address":...}. `config` must outlive the server. */
enum err_code server_start(const struct server_config *config, struct server **ret_server,
                           struct err *e) MUST_CHECK;

/* Whether server_stop() has begun: /readyz says 503 from then on. */
bool server_is_stopping(const struct server *server);

/* Requests between their head and the end of their answer; connections that a thread has taken. */
int server_requests(const struct server *server);
int server_connections(const struct server *server);

/* Takes no new connection, answers everything that was accepted before (for at most `timeout_us`,
 * or until a second TERM, INT or QUIT), then ends all threads and frees the server. For main(). */
void server_stop(struct server *server, int64_t timeout_us);

#endif
