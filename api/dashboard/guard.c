/* SPDX-License-Identifier: MIT
 *
 * What stands before every handler of the dashboard: who asks, whether their role may, and, for
 * everything that changes something, that it was not a web page elsewhere that asked.
 *
 * A browser tells with each POST where it comes from: Sec-Fetch-Site, or Origin where that is
 * absent (plain http), or at least Referer. Any of them that names another site is refused.
 * Scripts send none of them, and have no password stored that a page could make them use.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/dashboard/act.h"
#include "api/dashboard/dashboard.h"
#include "api/limits.h"
#include "common/log.h"
#include "common/logins.h"
#include "common/mem.h"

/* ---- who ---- */

static bool take_cookie(const char *cookies, char out[LOGIN_TOKEN_SIZE])
{
    size_t name_len = strlen(SESSION_COOKIE);

    for (const char *p = cookies; p && *p;) {
        size_t len;

        p += strspn(p, " ;");
        len = strcspn(p, ";");
        if (len > name_len + 1 && strncmp(p, SESSION_COOKIE "=", name_len + 1) == 0)
            return text_format(out, LOGIN_TOKEN_SIZE, "%.*s", (int)(len - name_len - 1),
                               p + name_len + 1);
        p += len;
    }
    return false;
}

bool request_login_token(const struct request *req, char ret_token[LOGIN_TOKEN_SIZE])
{
    return take_cookie(request_header(req, "Cookie"), ret_token);
}

/* ERR_DENIED: nobody is logged in. */
static enum err_code find_login(const struct request *req, struct auth_user *ret_user,
                                struct err *e)
{
    struct dashboard_thread *thread = thread_of(req);
    char token[LOGIN_TOKEN_SIZE];
    char name[LOGIN_NAME_SIZE];
    enum err_code rc;

    if (!request_login_token(req, token))
        return err_set(e, ERR_DENIED, "nobody is logged in");
    rc = logins_find(thread->db, token, name, e);
    if (rc == ERR_UNAVAILABLE) { /* the connection may have died while it was idle */
        err_clear(e);
        rc = logins_find(thread->db, token, name, e);
    }
    if (rc == ERR_NOT_FOUND || (!rc && !auth_find(thread->dashboard->auth, name, ret_user))) {
        err_clear(e);
        return err_set(e, ERR_DENIED, "nobody is logged in");
    }
    return rc;
}

static enum err_code identify(const struct request *req, struct auth_try *io_try,
                              struct auth_user *ret_user, struct err *e)
{
    const char *header = request_header(req, "Authorization");
    struct auth *auth = thread_of(req)->dashboard->auth;

    if (!auth_is_required(auth)) {
        *ret_user = (struct auth_user){.name = "local", .role = ROLE_ADMIN};
        return ERR_OK;
    }
    return header ? auth_check_header(auth, io_try, header, ret_user, e)
                  : find_login(req, ret_user, e);
}

/* How many there are is bounded, since how many are compared is. */
void guard_note_guess(struct request *req, const struct auth_try *try)
{
    if (!try->was_compared)
        return;
    log_warn("login_refused", L_STR("user", try->name), L_STR("address", act_address(req).text));
    req->user.role = ROLE_NONE;
    (void)snprintf(req->user.name, sizeof req->user.name, "%s", try->name);
    act_note(req, "login", "", "refused", NULL);
    req->user.name[0] = '\0';
}

void guard_make_wait(struct reply *reply, const struct auth_try *try)
{
    char seconds[24];

    (void)snprintf(seconds, sizeof seconds, "%" PRId64, try->wait_s);
    reply_detail(reply, 429, "Too many wrong passwords: try again in some minutes.");
    reply_header(reply, "Retry-After", seconds);
}

static bool is_page(const struct request *req)
{
    const char *accept = request_header(req, "Accept");

    return (strcmp(req->method, "GET") == 0 || strcmp(req->method, "HEAD") == 0) && accept &&
           strstr(accept, "text/html") && !request_header(req, "Authorization");
}

static void add_encoded(struct buf *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || strchr("/-._~", *p);

        if (plain)
            buf_add_char(out, *p);
        else
            buf_addf(out, "%%%02X", (unsigned)(unsigned char)*p);
    }
}

static bool send_to_login(const struct request *req, struct reply *reply)
{
    AUTO_VALUE(buf_release) struct buf location;

    buf_init(&location, 4096);
    buf_addf(&location, "%s/login", thread_of(req)->dashboard->conf->path_prefix);
    if (strlen(req->path) + strlen(req->query) < 1000 && strcmp(req->path, "/") != 0) {
        buf_add_str(&location, "?next=");
        add_encoded(&location, req->path);
        add_encoded(&location, *req->query ? "?" : "");
        add_encoded(&location, req->query);
    }
    reply_redirect(reply, 303, location.data);
    return false;
}

static bool refuse(const struct request *req, struct reply *reply, enum err_code rc,
                   const struct auth_try *try, const struct err *e)
{
    bool has_users = auth_has_users(thread_of(req)->dashboard->auth);

    if (rc != ERR_DENIED && rc != ERR_CONFLICT) {
        log_error("request_failed", L_STR("step", "authorise"), L_ERR(e));
        reply_detail(reply, 503,
                     rc == ERR_UNAVAILABLE && *e->text
                         ? e->text
                         : "The service is not available at the moment.");
        reply_header(reply, "Retry-After", "1");
        return false;
    }
    if (has_users && is_page(req))
        return send_to_login(req, reply);
    if (rc == ERR_CONFLICT) {
        guard_make_wait(reply, try);
        return false;
    }
    reply_detail(reply, 401, "Authentication credentials were not provided or are wrong.");
    /* Asked by Basic, a browser shows a window of its own instead of our page. */
    reply_header(reply, "WWW-Authenticate",
                 has_users ? "Bearer realm=\"till\"" : "Basic realm=\"till\", charset=\"UTF-8\"");
    return false;
}

bool guard_authorise(struct request *req, struct reply *reply)
{
    struct auth *auth = thread_of(req)->dashboard->auth;
    char address[LIMITS_NAME_SIZE];
    struct auth_try try = {.address = address};
    struct auth_user user = {0};
    struct err e = {0};
    enum err_code rc;

    if (!auth_is_required(auth) && !auth_is_local_host(request_header(req, "Host"))) {
        reply_detail(reply, 403, "Without TILL_DASHBOARD_AUTH only localhost is served.");
        return false;
    }
    limits_address(req, address);
    rc = identify(req, &try, &user, &e);
    if (rc == ERR_DENIED)
        guard_note_guess(req, &try);
    if (rc)
        return refuse(req, reply, rc, &try, &e);
    req->user.role = (int)user.role;
    if (!text_format(req->user.name, sizeof req->user.name, "%s", user.name))
        req->user.name[sizeof req->user.name - 1] = '\0';
    return true;
}

/* ---- whether they may ---- */

/* Whether a URL such as an Origin has this host and port. */
static bool names_host(const char *url, const char *host)
{
    const char *at = strstr(url, "://");
    size_t len = at ? strcspn(at + 3, "/?#") : 0;

    return at && host && strlen(host) == len && strncasecmp(at + 3, host, len) == 0;
}

static bool is_cross_site(const struct request *req)
{
    const char *site = request_header(req, "Sec-Fetch-Site");
    const char *origin = request_header(req, "Origin");
    const char *referer = request_header(req, "Referer");
    const char *host = request_header(req, "Host");

    if (site)
        return strcasecmp(site, "same-origin") != 0;
    if (origin)
        return !names_host(origin, host);
    return referer && !names_host(referer, host);
}

static bool deny(const struct request *req, struct reply *reply, const char *why, const char *text)
{
    log_warn("refused", L_STR("route", req->match.route->pattern), L_STR("user", req->user.name),
             L_STR("reason", why));
    reply_detail(reply, 403, text);
    return false;
}

bool guard_admit(struct request *req, struct reply *reply)
{
    int scope = req->match.route->scope;
    bool changes = strcmp(req->method, "POST") == 0;
    bool acts = changes && scope > SCOPE_VIEWER; /* a table may be asked for by POST, too */

    if (changes && is_cross_site(req))
        return deny(req, reply, "cross_site", "A page of another site may not do this.");
    if (acts && thread_of(req)->dashboard->conf->dashboard_read_only)
        return deny(req, reply, "read_only", "The dashboard is read-only.");
    if (req->user.role < scope) {
        AUTO_VALUE(buf_release) struct buf text;

        buf_init(&text, 200);
        buf_addf(&text, "This needs the role %s; yours is %s.", role_name((enum role)scope),
                 role_name((enum role)req->user.role));
        if (changes)
            act_note(req, "refused", req->path, "refused", NULL);
        return deny(req, reply, "role", text.data);
    }
    return true;
}
