/* SPDX-License-Identifier: MIT
 *
 * Logging in and out, and who one is. The cookie cannot be read by scripts, goes over TLS only (or
 * to this machine), comes from this very host (__Host-) and with no request of another site.
 */
#include <stdio.h>
#include <string.h>

#include "api/dashboard/act.h"
#include "api/dashboard/dashboard.h"
#include "api/limits.h"
#include "common/json.h"
#include "common/logins.h"

enum { BODY_MAX = 4096, COOKIE_SIZE = 200 };

static void set_cookie(struct reply *reply, const char *token, int seconds)
{
    char cookie[COOKIE_SIZE];

    if (text_format(cookie, sizeof cookie,
                    SESSION_COOKIE "=%s; Path=/; Max-Age=%d; Secure; HttpOnly; SameSite=Strict",
                    token, seconds))
        reply_header(reply, "Set-Cookie", cookie);
}

static json_t *me_json(const struct request *req)
{
    const struct dashboard *dashboard = thread_of(req)->dashboard;
    char token[LOGIN_TOKEN_SIZE];

    return json_pack("{s:s, s:s, s:b, s:b}", "name", req->user.name, "role",
                     role_name((enum role)req->user.role), "read_only",
                     dashboard->conf->dashboard_read_only != 0, "logged_in",
                     auth_is_required(dashboard->auth) && request_login_token(req, token) &&
                         !request_header(req, "Authorization"));
}

enum err_code me_show(struct request *req, struct reply *reply, struct err *e)
{
    return reply_json(reply, 200, me_json(req), e);
}

static enum err_code check(struct request *req, struct reply *reply, struct auth_user *ret_user,
                           struct err *e)
{
    AUTO(json_decref) json_t *body = NULL;
    const char *name;
    const char *password;
    char address[LIMITS_NAME_SIZE];
    struct auth_try try = {.address = address};
    struct err problem = {0};
    enum err_code rc;

    limits_address(req, address);
    if (!request_has_type(req, "application/json") ||
        json_read(req->body, req->body_len, BODY_MAX, &body, NULL))
        return err_set(e, ERR_INVALID, "the body is JSON: {\"username\": ..., \"password\": ...}");
    name = json_member_text(body, "username");
    password = json_member_text(body, "password");
    if (!name || !password)
        return err_set(e, ERR_INVALID, "username and password are texts");
    rc = auth_check_password(thread_of(req)->dashboard->auth, &try, name, password, ret_user,
                             &problem);
    if (rc == ERR_DENIED) {
        guard_note_guess(req, &try);
        reply_detail(reply, 401, "Name or password is wrong.");
    } else if (rc == ERR_CONFLICT) {
        guard_make_wait(reply, &try);
    } else if (rc) {
        *e = problem;
        return rc;
    }
    return ERR_OK;
}

static void become(struct request *req, const struct auth_user *user)
{
    req->user.role = (int)user->role;
    (void)memcpy(req->user.name, user->name, sizeof req->user.name);
}

enum err_code login(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(act_release) struct act act = {0};
    struct auth_user user = {0};
    char token[LOGIN_TOKEN_SIZE];
    enum err_code rc = check(req, reply, &user, e);

    if (rc || user.role == ROLE_NONE)
        return rc;
    become(req, &user);
    rc = act_begin(&act, req, "login", "", e);
    if (!rc)
        rc = logins_add(thread_of(req)->db, user.name, token, e);
    if (!rc)
        rc = act_commit(&act, ACT_DONE, NULL, e);
    if (rc)
        return rc;
    rc = reply_json(reply, 200, me_json(req), e);
    set_cookie(reply, token, LOGIN_HOURS * 3600);
    return rc;
}

/* Who is logged in by the token is written down as gone; a user of the file, or not any more. */
static enum err_code end_login(struct request *req, const char *token, struct err *e)
{
    AUTO_VALUE(act_release) struct act act = {0};
    struct db *db = thread_of(req)->db;
    struct auth_user user = {0};
    char name[LOGIN_NAME_SIZE];
    enum err_code rc = logins_find(db, token, name, e);

    if (rc)
        return rc;
    (void)auth_find(thread_of(req)->dashboard->auth, name, &user);
    (void)snprintf(user.name, sizeof user.name, "%s", name);
    become(req, &user);
    rc = act_begin(&act, req, "logout", "", e);
    if (!rc)
        rc = logins_drop(db, token, e);
    return rc ? rc : act_commit(&act, ACT_DONE, NULL, e);
}

enum err_code logout(struct request *req, struct reply *reply, struct err *e)
{
    char token[LOGIN_TOKEN_SIZE];
    enum err_code rc = ERR_OK;

    if (request_login_token(req, token))
        rc = end_login(req, token, e);
    if (rc && rc != ERR_NOT_FOUND)
        return rc;
    err_clear(e);
    rc = reply_json(reply, 200, json_pack("{s:b}", "logged_in", 0), e);
    set_cookie(reply, "", 0);
    return rc;
}
