/* SPDX-License-Identifier: MIT
 *
 * What stands before every handler of till-api: who is asking (SimpleJWT's rules and texts), what
 * the client accepts, the parsing of the body, and the refusal of card data. A handler that runs
 * has a known user and a body that was looked through.
 */
#include "api/api.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/card.h"
#include "api/cors.h"
#include "api/limits.h"
#include "api/lookups.h"
#include "api/metrics.h"
#include "api/tokens.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/text.h"
#include "common/users.h"

/* ---- who is asking ---- */

static bool refuse(struct reply *reply, const char *detail, const char *code)
{
    reply_detail(reply, 401, detail);
    if (code) {
        reply->body.len--; /* the closing brace */
        buf_add_str(&reply->body, ",\"code\":");
        buf_add_json(&reply->body, code);
        buf_add_char(&reply->body, '}');
    }
    reply_header(reply, "WWW-Authenticate", "Bearer realm=\"api\"");
    return false;
}

static bool refuse_token(struct reply *reply, enum token_verdict verdict)
{
    (void)refuse(reply, "", NULL);
    buf_clear(&reply->body);
    buf_addf(
        &reply->body,
        "{\"detail\":\"Given token not valid for any token type\",\"code\":\"token_not_valid\","
        "\"messages\":[{\"token_class\":\"AccessToken\",\"token_type\":\"access\","
        "\"message\":\"%s\"}]}",
        verdict == TOKEN_WRONG_KIND ? "Token has wrong type" : "Token is invalid or expired");
    return false;
}

static const char *skip_blanks(const char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    return text;
}

/* strcspn(text, " \t"), which takes its time over a long text. */
static size_t blank_after(const char *text)
{
    const char *end = strchrnul(text, ' ');
    const char *tab = memchr(text, '\t', (size_t)(end - text));

    return (size_t)((tab ? tab : end) - text);
}

/* The token of "Authorization: Bearer TOKEN". False: the reply says what is wrong. */
static bool find_token(const struct request *req, const char **ret_token, size_t *ret_len,
                       struct reply *reply)
{
    static const char scheme[] = "Bearer";
    const char *header = request_header(req, "Authorization");
    bool is_bearer = header && strncmp(header, scheme, sizeof scheme - 1) == 0;
    const char *token = is_bearer ? skip_blanks(header + sizeof scheme - 1) : "";
    size_t len = blank_after(token);

    if (!is_bearer || (header[sizeof scheme - 1] && token == header + sizeof scheme - 1))
        return refuse(reply, "Authentication credentials were not provided.", NULL);
    if (len == 0 || *skip_blanks(token + len))
        return refuse(reply, "Authorization header must contain two space-delimited values",
                      "bad_authorization_header");
    *ret_token = token;
    *ret_len = len;
    return true;
}

static bool refuse_unavailable(struct reply *reply, const struct err *e)
{
    log_error("request_failed", L_STR("step", "authorise"), L_ERR(e));
    reply_detail(reply, 503, "The service is not available at the moment.");
    reply_header(reply, "Retry-After", "1");
    return false;
}

static void take_user(struct request *req, const struct user_asking *user)
{
    req->user.id = user->id;
    req->user.is_staff = user->is_staff;
    text_copy(req->user.name, sizeof req->user.name, user->username);
    api_of(req)->catalogue_version = user->catalogue_version;
    api_of(req)->primary_position = user->position;
    api_of(req)->user_writes = user->writes;
}

/* Tokens outlive rights, so the user is looked up at each request. */
static bool look_up(struct request *req, int64_t id, struct reply *reply)
{
    struct user_asking user;
    struct err e = {0};
    int64_t start_us = clock_mono_us();
    struct lookup_moment moment = {0};
    enum err_code rc = lookup_user(api_of(req)->lookup, id, &user, &moment, &e);

    /* Alone; a second time, since the connection may have died while it was idle. */
    for (int i = 0; i < 2 && rc == ERR_UNAVAILABLE; i++) {
        err_clear(&e);
        rc = users_find_asking(api_db(req), id, &user, &e);
    }
    if (rc == ERR_NOT_FOUND)
        return refuse(reply, "User not found", "user_not_found");
    if (rc)
        return refuse_unavailable(reply, &e);
    if (!user.is_active)
        return refuse(reply, "User is inactive", "user_inactive");
    take_user(req, &user);
    api_of(req)->moment = moment;
    api_of(req)->is_leased = false;
    api_of(req)->asked_us = start_us;
    api_of(req)->lookup_us = clock_mono_us() - start_us;
    return true;
}

/* Unless another look-up of a moment ago still tells who it is; see leases.h. */
static bool load_user(struct request *req, int64_t id, struct reply *reply)
{
    struct api *api = api_of(req);
    struct user_asking user;

    /* Without a body the request has only just begun. */
    api->is_leased =
        req->match.route->scope == SCOPE_CATALOGUE && request_is_safe(req) && req->body_len == 0 &&
        leases_find(&api->lease, id, server_connections(req->server), req->begun_us, &user);
    if (!api->is_leased)
        return look_up(req, id, reply);
    take_user(req, &user);
    return true;
}

bool guard_look_up(struct request *req, struct reply *reply)
{
    return look_up(req, req->user.id, reply);
}

/* ---- how often ---- */

enum { COST_PLAIN = 1, COST_PASSWORD = 10 };

void guard_throttle(struct reply *reply, int64_t wait_s)
{
    AUTO_VALUE(buf_release) struct buf text;

    metrics_add(METRIC_THROTTLED);
    buf_init(&text, 128);
    buf_addf(&text, "Request was throttled. Expected available in %" PRId64 " second%s.", wait_s,
             wait_s == 1 ? "" : "s");
    reply_detail(reply, 429, text.data);
    buf_clear(&text);
    buf_addf(&text, "%" PRId64, wait_s);
    reply_header(reply, "Retry-After", text.data);
}

static bool is_within(char kind, const char *name, int64_t per_minute, int64_t cost,
                      struct reply *reply)
{
    int64_t wait_s = limits_take(kind, name, per_minute, cost, clock_mono_us());

    if (wait_s > 0)
        guard_throttle(reply, wait_s);
    return wait_s == 0;
}

static bool address_is_within(const struct request *req, int64_t cost, struct reply *reply)
{
    char address[LIMITS_NAME_SIZE];

    limits_address(req, address);
    return is_within('a', address, api_of(req)->conf->rate_address, cost, reply);
}

static bool user_is_within(const struct request *req, struct reply *reply)
{
    char name[LIMITS_NAME_SIZE];

    limits_address(req, name);
    if (!*name) /* of this machine */
        return true;
    (void)snprintf(name, sizeof name, "%" PRId64, req->user.id);
    return is_within('u', name, api_of(req)->conf->rate_user, COST_PLAIN, reply);
}

/* Who looks for paths that may be there costs as much as who asks for those that are. */
bool guard_unrouted(struct request *req, struct reply *reply)
{
    return address_is_within(req, COST_PLAIN, reply);
}

bool guard_authorise(struct request *req, struct reply *reply)
{
    const struct token_keys keys = api_keys(req);
    struct token_claims claims;
    enum token_verdict verdict;
    const char *token = "";
    size_t len = 0;

    if (cors_is_preflight(req))
        return true;
    if (!address_is_within(req, COST_PLAIN, reply))
        return false;
    if (req->match.route->scope == SCOPE_SIGNED)
        return true;
    if (!find_token(req, &token, &len, reply))
        return false;
    verdict = tokens_read(&keys, token, len, clock_wall_us(), &claims);
    if (verdict != TOKEN_GOOD)
        return refuse_token(reply, verdict);
    if (!load_user(req, claims.user_id, reply) || !user_is_within(req, reply))
        return false;
    if (req->match.route->scope == SCOPE_STAFF && !req->user.is_staff) {
        reply_detail(reply, 403, "You do not have permission to perform this action.");
        return false;
    }
    return true;
}

/* ---- what the client accepts ---- */

static bool accepts_json(const char *accept)
{
    static const char *const ranges[] = {"*/*", "application/*", "application/json"};

    while (*accept) {
        size_t len = strcspn(accept, ",");
        size_t blanks = strspn(accept, " \t");
        size_t end = blanks + strcspn(accept + blanks, ",; \t");

        for (size_t i = 0; i < COUNT_OF(ranges); i++)
            if (end - blanks == strlen(ranges[i]) &&
                strncasecmp(accept + blanks, ranges[i], end - blanks) == 0)
                return true;
        accept += len + (accept[len] == ',');
    }
    return false;
}

/* ---- the body ---- */

static enum err_code add_pair(void *data, const char *name, const char *value, struct err *e)
{
    if (json_object_set_new(data, name, json_string(value)) != 0)
        return err_set(e, ERR_INVALID, "the form is not UTF-8");
    return ERR_OK;
}

static bool refuse_type(const struct request *req, struct reply *reply)
{
    AUTO_VALUE(buf_release) struct buf text;
    const char *type = request_header(req, "Content-Type");

    buf_init(&text, 512);
    buf_addf(&text, "Unsupported media type \"%.200s\" in request.", type ? type : "");
    reply_detail(reply, 415, text.data);
    return false;
}

static bool refuse_syntax(struct reply *reply, const char *what, const struct err *e)
{
    AUTO_VALUE(buf_release) struct buf text;

    buf_init(&text, 512);
    buf_addf(&text, "%s parse error - %s", what, e->text);
    reply_detail(reply, 400, text.data);
    return false;
}

/* Parses the body into req->data. No body is an empty object, whatever its type; a GET has none. */
static bool parse_body(struct request *req, struct reply *reply)
{
    struct err e = {0};

    if (req->body_len == 0) {
        if (strcmp(req->method, "GET") != 0 && strcmp(req->method, "HEAD") != 0)
            req->data = json_object();
        return true;
    }
    if (request_has_type(req, "application/json"))
        return !json_read(req->body, req->body_len, HTTP_BODY_MAX, &req->data, &e) ||
               refuse_syntax(reply, "JSON", &e);
    if (request_has_type(req, "application/x-www-form-urlencoded")) {
        req->data = json_object();
        return !form_each(req->body, req->body_len, add_pair, req->data, &e) ||
               refuse_syntax(reply, "Form", &e);
    }
    return refuse_type(req, reply);
}

/* ---- card data ---- */

static enum err_code check_pair(void *unused, const char *name, const char *value, struct err *e)
{
    (void)unused;
    if (card_is_field(name) || card_is_in_text(name) || card_is_in_text(value))
        return err_set(e, ERR_DENIED, "card data");
    return ERR_OK;
}

static bool carries_card_data(const struct request *req)
{
    const char *key = request_header(req, "Idempotency-Key");

    for (size_t i = 0; i < req->match.params_count; i++)
        if (card_is_in_text(req->match.params[i]))
            return true;
    return form_each(req->query, strlen(req->query), check_pair, NULL, NULL) == ERR_DENIED ||
           (key && card_is_in_text(key)) || (req->data && card_is_in_json(req->data));
}

/* What everybody may look at (health, figures, the description) has one form, which probes and
 * scrapers get whatever they ask for; the shop's own answers are negotiated, as its clients know
 * it. */
static bool is_acceptable(const struct request *req)
{
    const char *accept = request_header(req, "Accept");

    if (req->match.route->scope == SCOPE_PUBLIC && request_is_safe(req))
        return true;
    return !accept || !*accept || accepts_json(accept);
}

bool guard_admit(struct request *req, struct reply *reply)
{
    if (req->match.route->scope == SCOPE_SIGNED)
        return true;
    /* What is public and no mere look hashes a password or opens a session. */
    if (req->match.route->scope == SCOPE_PUBLIC && strcmp(req->method, "POST") == 0 &&
        !address_is_within(req, COST_PASSWORD, reply))
        return false;
    if (!is_acceptable(req)) {
        reply_detail(reply, 406, "Could not satisfy the request Accept header.");
        return false;
    }
    if (!parse_body(req, reply))
        return false;
    if (carries_card_data(req)) {
        reply_detail(reply, 422,
                     "Card data must not be sent to this service. Send the payment_token that the "
                     "payment gateway gave for the card.");
        return false;
    }
    return true;
}
