/* SPDX-License-Identifier: MIT
 *
 * The server: threads, the way of one request through it, and its end. civetweb gives connections
 * and parsed heads; begin_request() takes every one of them, so that nothing of civetweb's own
 * (handlers by prefix, files, CORS, sockets) is ever reached.
 */
#include "api/http.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <poll.h>

#include "api/connections.h"
#include "api/http_wire.h"
#include "api/request_id.h"
#include "api/sockets.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/log_gather.h"
#include "common/mem.h"
#include "common/program.h"
#include "common/text.h"

enum {
    REQUEST_DEADLINE_S = 10,
    STOP_NOTICE_MS = 250,  /* /readyz says 503 for so long before connections are refused */
    STOP_QUIET_MS = 30,    /* no connection at all for so long: nothing is under way */
    STOP_SILENT_MS = 1000, /* connections that send nothing get so long */
    STOP_POLL_MS = 5,
    WORKER_THREAD = 1,  /* civetweb's thread_type of those that handle requests */
    REPLY_USUAL = 2048, /* bytes of a body */
};

struct server {
    const struct server_config *config;
    struct router *router;
    struct buf headers; /* those of `config`, joined */
    struct mg_context *civetweb;
    int listener; /* borrowed from civetweb */
    struct connections *connections;
    atomic_bool stopping;
    atomic_int requests; /* between their head and the end of their answer */
};

static struct server *server_of(const struct mg_connection *conn)
{
    return mg_get_user_data(mg_get_context(conn));
}

bool server_is_stopping(const struct server *server) { return atomic_load(&server->stopping); }

int server_requests(const struct server *server) { return atomic_load(&server->requests); }

int server_connections(const struct server *server)
{
    return connections_count(server->connections);
}

const char *request_header(const struct request *req, const char *name)
{
    return wire_header(req->wire, name);
}

/* ---- answers that no handler made ---- */

static void fail(const struct server *server, struct reply *reply, int status, const char *text)
{
    if (server->config->fail)
        server->config->fail(reply, status, text);
    else
        reply_detail(reply, status, text);
    if (status == 503)
        reply_header(reply, "Retry-After", "1");
}

/* What a client may read of an error. Where a driver has spoken, the text is for the log. */
static const char *text_for_client(bool tells_why, enum err_code code, const struct err *e)
{
    if (code == ERR_NOT_FOUND)
        return "Not found.";
    if (http_status_of(code) == 503)
        return tells_why && *e->text ? e->text : "The service is not available at the moment.";
    if (http_status_of(code) >= 500)
        return "The request failed.";
    return *e->text && !*e->detail ? e->text : "The request could not be carried out.";
}

static void fail_by_error(const struct request *req, struct reply *reply, enum err_code code,
                          const struct err *e)
{
    int status = http_status_of(code);

    if (status >= 500)
        log_error("request_failed", L_STR("route", req->match.route->pattern), L_ERR(e));
    else
        log_debug("request_refused", L_STR("route", req->match.route->pattern), L_ERR(e));
    reply_clear(reply);
    fail(req->server, reply, status, text_for_client(req->server->config->tells_why, code, e));
}

/* ---- one request ---- */

/* What the request adds is part of the client's trace, or of one under the request's id. */
static void take_trace(struct request *req, const char *given)
{
    struct trace trace;

    trace = given && trace_parse(given, &trace) ? trace_child(&trace) : trace_begin(req->id);
    trace_format(&trace, req->traceparent);
    log_context_set("trace_id", trace.id);
}

static void run_handler(struct request *req, struct reply *reply)
{
    struct err e = {0};
    enum err_code rc = req->match.route->handler(req, reply, &e);

    if (rc == ERR_UNAVAILABLE && request_is_safe(req)) {
        err_clear(&e);
        reply_clear(reply);
        rc = req->match.route->handler(req, reply, &e);
    }
    if (rc)
        fail_by_error(req, reply, rc, &e);
}

static void add_slash(const struct request *req, struct reply *reply)
{
    AUTO_VALUE(buf_release) struct buf location;

    buf_init(&location, 16 * 1024);
    buf_addf(&location, "%s/%s%s", req->path, *req->query ? "?" : "", req->query);
    reply_redirect(reply, 301, location.data);
}

static void refuse_method(const struct request *req, struct reply *reply)
{
    char text[64];

    if (!text_format(text, sizeof text, "Method \"%.24s\" not allowed.", req->method))
        text[0] = '\0';
    fail(req->server, reply, 405, text);
}

static bool is_unrouted(const struct request *req, enum route_outcome outcome)
{
    return outcome == ROUTE_NOT_FOUND || outcome == ROUTE_ADD_SLASH ||
           (outcome == ROUTE_WRONG_METHOD && req->match.route->scope == 0);
}

/* Routing, permission, the program's own rules, the handler: in this order. */
static void dispatch(struct request *req, struct reply *reply)
{
    const struct server_config *config = req->server->config;
    enum route_outcome outcome =
        router_match(req->server->router, req->method, req->path, &req->match);
    bool may_go;

    if (is_unrouted(req, outcome) && config->unrouted && !config->unrouted(req, reply))
        return;
    if (outcome == ROUTE_NOT_FOUND)
        fail(req->server, reply, 404, "Not found.");
    if (outcome == ROUTE_ADD_SLASH)
        add_slash(req, reply);
    if (outcome == ROUTE_NOT_FOUND || outcome == ROUTE_ADD_SLASH)
        return;
    may_go = req->match.route->scope == 0 || config->authorise(req, reply);
    if (may_go && outcome == ROUTE_FOUND)
        may_go = !config->admit || config->admit(req, reply);
    if (may_go && outcome == ROUTE_OPTIONS)
        reply_bytes(reply, 200, "text/plain; charset=utf-8", "", 0);
    else if (may_go && outcome == ROUTE_WRONG_METHOD)
        refuse_method(req, reply);
    else if (may_go)
        run_handler(req, reply);
    reply_header(reply, "Allow", req->match.allow);
}

/* Reads and judges the head and the body. False: the reply is the refusal. */
static bool take_request(struct request *req, struct http_wire *wire, struct buf *body,
                         struct reply *reply)
{
    const char *text = "";
    int64_t length = 0;
    int status = wire_check(wire, &length, &text);

    if (!status)
        status = wire_read_body(wire, length, req->deadline_us, body, &text);
    /* It is we who did not wait for the rest, and not the client who was late. */
    if (status == 408 && connection_is_cut(mg_get_user_connection_data(wire->conn))) {
        status = 503;
        text = "The connection was ended before the request was there.";
    }
    if (status) {
        wire->unread = true;
        reply->close = true;
        fail(req->server, reply, status, text);
        return false;
    }
    req->body = body->data;
    req->body_len = body->len;
    return true;
}

static void log_request(const struct request *req, const struct reply *reply)
{
    const char *pattern = req->match.route ? req->match.route->pattern : "-";

    /* While others are connected it waits for their lines, too. */
    log_info_soon(server_connections(req->server) <= 1, "request", L_STR("method", req->method),
                  L_STR("route", pattern), L_INT("status", reply->status),
                  L_INT("ms", (clock_mono_us() - req->begun_us) / US_PER_MS),
                  L_INT("bytes", reply->body.len), L_INT("user_id", req->user.id));
}

/* The path without the prefix that a proxy in front has left on it. */
static const char *without_prefix(const struct server_config *config, const char *path)
{
    size_t len = config->prefix ? strlen(config->prefix) : 0;

    if (len == 0 || strncmp(path, config->prefix, len) != 0)
        return path;
    if (path[len] == '\0')
        return "/";
    return path[len] == '/' ? path + len : path;
}

static bool may_stay(const struct request *req)
{
    return !server_is_stopping(req->server) && wire_wants_keep_alive(req->wire) &&
           connection_may_stay(req->server->connections,
                               mg_get_user_connection_data(req->wire->conn), request_is_safe(req));
}

static int serve(struct server *server, struct mg_connection *conn)
{
    struct http_wire wire = {.conn = conn, .info = mg_get_request_info(conn), .is_ours = true};
    int64_t start_us = clock_mono_us();
    AUTO_VALUE(buf_release) struct buf body;
    AUTO_VALUE(reply_release) struct reply reply;
    char space[REPLY_USUAL];
    struct request req = {
        .method = wire.info->request_method,
        .path = without_prefix(server->config, wire.info->request_uri),
        .query = wire.info->query_string ? wire.info->query_string : "",
        .body = "",
        .begun_us = start_us,
        .deadline_us = start_us + REQUEST_DEADLINE_S * US_PER_S,
        .context = mg_get_thread_pointer(conn),
        .server = server,
        .wire = &wire,
    };

    buf_init(&body, HTTP_BODY_MAX);
    reply_init(&reply);
    buf_init_in(&reply.body, space, sizeof space, HTTP_REPLY_MAX);
    text_copy(req.remote, sizeof req.remote, wire.info->remote_addr);
    request_id_take(wire_header(&wire, "X-Request-Id"), req.id);
    log_context_set("request_id", req.id);
    take_trace(&req, wire_header(&wire, "traceparent"));
    if (take_request(&req, &wire, &body, &reply))
        dispatch(&req, &reply);
    if (server->config->finish)
        server->config->finish(&req, &reply);
    wire_write(&wire, server->config, &server->headers, req.id, strcmp(req.method, "HEAD") == 0,
               reply.close || !may_stay(&req), &reply);
    log_request(&req, &reply);
    log_context_clear();
    json_decref(req.data);
    return reply.status;
}

/* ---- civetweb's callbacks ---- */

static int begin_request(struct mg_connection *conn)
{
    struct server *server = server_of(conn);
    const struct mg_request_info *info = mg_get_request_info(conn);
    struct connection *connection = mg_get_user_connection_data(conn);
    int status;

    connection_begins(connection, info->remote_addr, info->remote_port);
    atomic_fetch_add(&server->requests, 1);
    status = serve(server, conn);
    atomic_fetch_sub(&server->requests, 1);
    connection_ends(connection);
    return status;
}

/* What civetweb itself refuses, before begin_request(). Of such a head nothing is believed, an id
 * neither. */
static int http_error(struct mg_connection *conn, int status, const char *message)
{
    struct server *server = server_of(conn);
    struct http_wire wire = {.conn = conn, .info = mg_get_request_info(conn), .unread = true};
    AUTO_VALUE(reply_release) struct reply reply;
    char id[HTTP_ID_SIZE];

    (void)message;
    request_id_make(id);
    log_context_set("request_id", id);
    reply_init(&reply);
    fail(server, &reply, status, http_reason(status));
    wire_write(&wire, server->config, &server->headers, id, false, true, &reply);
    log_info("request", L_STR("method", "-"), L_STR("route", "-"), L_INT("status", status),
             L_INT("ms", 0));
    log_context_clear();
    return 0;
}

static int init_connection(const struct mg_connection *conn, void **ret_data)
{
    *ret_data = connection_taken(server_of(conn)->connections);
    return 0;
}

static void connection_close(const struct mg_connection *conn)
{
    connection_gone(server_of(conn)->connections, mg_get_user_connection_data(conn));
}

static void *init_thread(const struct mg_context *civetweb, int type)
{
    const struct server *server = mg_get_user_data(civetweb);

    if (type != WORKER_THREAD || !server->config->thread_new)
        return NULL;
    return server->config->thread_new(server->config->data);
}

static void exit_thread(const struct mg_context *civetweb, int type, void *context)
{
    const struct server *server = mg_get_user_data(civetweb);

    if (type == WORKER_THREAD && context && server->config->thread_free)
        server->config->thread_free(context);
}

static int log_message(const struct mg_connection *conn, const char *message)
{
    (void)conn;
    log_debug("civetweb", L_STR("text", message));
    return 1;
}

/* ---- start and stop ---- */

static void server_free(struct server *server)
{
    connections_free(server->connections);
    router_free(server->router);
    buf_release(&server->headers);
    mem_free(server);
}

/* NULL, with the reason in ret_why: civetweb would not start. */
static struct mg_context *start_civetweb(struct server *server, char *ret_why, size_t why_size)
{
    static const struct mg_callbacks callbacks = {
        .begin_request = begin_request,
        .http_error = http_error,
        .init_connection = init_connection,
        .connection_close = connection_close,
        .init_thread = init_thread,
        .exit_thread = exit_thread,
        .log_message = log_message,
    };
    char threads[16];
    char silent[16];
    /* clang-format off */
    const char *options[] = {
        "listening_ports", server->config->listen,
        "num_threads", threads,
        "connection_queue", "256",
        "listen_backlog", "512",
        "enable_keep_alive", "yes",
        "keep_alive_timeout_ms", silent,
        "request_timeout_ms", "5000",
        "tcp_nodelay", "1",
        "max_request_size", "16384",
        /* It would decode in place, and the router could not tell "%2f" from "/". */
        "decode_url", "no",
        "enable_directory_listing", "no",
        "enable_auth_domain_check", "no",
        "access_control_allow_origin", "",
        "access_control_allow_methods", "",
        "access_control_allow_headers", "",
        NULL,
    };
    /* clang-format on */
    struct mg_init_data init = {&callbacks, server, options};
    struct mg_error_data error = {NULL, ret_why, why_size};

    (void)snprintf(threads, sizeof threads, "%d", server->config->threads);
    (void)snprintf(silent, sizeof silent, "%d", CONNECTION_IDLE_S * 1000);
    (void)mg_init_library(0);
    return mg_start2(&init, &error);
}

/* All that it needs before it listens; NULL: a thread cannot be started. */
static struct server *server_new(const struct server_config *config)
{
    struct server *server = mem_alloc(sizeof *server);

    server->config = config;
    server->router = router_new(config->routes, config->routes_count);
    buf_init(&server->headers, 4096);
    wire_join_headers(config->headers, &server->headers);
    server->connections = connections_new(config->threads);
    if (!server->connections) {
        server_free(server);
        return NULL;
    }
    return server;
}

enum err_code server_start(const struct server_config *config, struct server **ret_server,
                           struct err *e)
{
    struct server *server = server_new(config);
    struct mg_server_port port = {0};
    char why[200] = "";

    if (!server)
        return err_set(e, ERR_UNAVAILABLE, "cannot start a thread");
    log_gather_start();
    server->civetweb = start_civetweb(server, why, sizeof why);
    if (!server->civetweb) {
        int code = socket_try_listen(config->listen);

        log_gather_stop();
        server_free(server);
        return err_set_detail(e, ERR_UNAVAILABLE, code ? strerrordesc_np(code) : why,
                              "cannot listen on \"%s\"", config->listen);
    }
    (void)mg_get_server_ports(server->civetweb, 1, &port);
    server->listener = socket_find_listener(port.port);
    socket_tell_listening(config->listen, port.port);
    *ret_server = server;
    return ERR_OK;
}

/* A second signal ends the wait; main() takes none while it is in here. */
static bool is_told_to_hurry(void)
{
    int number = program_wait(STOP_POLL_MS * US_PER_MS);

    return number == SIGTERM || number == SIGINT || number == SIGQUIT;
}

/* Waits until nothing that was accepted is unanswered. A connection may be between the kernel, the
 * queue of civetweb and a thread, so one look is not enough: it must stay quiet. */
static void drain(const struct server *server, int64_t deadline_us)
{
    int64_t busy_us = clock_mono_us();

    for (;;) {
        int connections = connections_count(server->connections);
        int64_t now_us = clock_mono_us();
        int64_t quiet_us = (connections == 0 ? STOP_QUIET_MS : STOP_SILENT_MS) * US_PER_MS;

        /* While every thread has a connection, more of them may wait in the queue. */
        if (socket_has_waiting(server->listener) || atomic_load(&server->requests) > 0 ||
            connections >= server->config->threads)
            busy_us = now_us;
        if (now_us >= deadline_us || now_us - busy_us >= quiet_us)
            return;
        if (is_told_to_hurry())
            return;
    }
}

void server_stop(struct server *server, int64_t timeout_us)
{
    int64_t deadline_us = clock_mono_us() + timeout_us;

    atomic_store(&server->stopping, true);
    log_info("stopping", L_INT("requests", atomic_load(&server->requests)));
    (void)poll(NULL, 0, STOP_NOTICE_MS);
    socket_refuse_new(server->listener);
    connections_drain(server->connections);
    drain(server, deadline_us);
    socket_wake_listener(server->listener);
    mg_stop(server->civetweb);
    log_gather_stop();
    (void)mg_exit_library();
    server_free(server);
}
