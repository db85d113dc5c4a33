/* SPDX-License-Identifier: MIT
 *
 * /api/auth/: registering, logging in and out, and new tokens for old ones.
 */
#include "api/api.h"

#include <string.h>

#include "api/fields.h"
#include "api/limits.h"
#include "api/token.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/password.h"
#include "common/queue_throttle.h"
#include "common/sessions.h"
#include "common/text.h"
#include "common/users.h"

/* Bytes of an e-mail address of USER_EMAIL_MAX characters, with its NUL. */
enum { ACCOUNT_SIZE = 4 * USER_EMAIL_MAX + 1 };

static enum err_code refuse(struct reply *reply, const char *body)
{
    reply_bytes(reply, 401, "application/json", body, strlen(body));
    reply_header(reply, "WWW-Authenticate", "Bearer realm=\"api\"");
    return ERR_OK;
}

/* ---- register ---- */

struct registration {
    struct user_new user;
    const char *password; /* borrowed from the fields */
    bool is_taken;        /* its user name or e-mail address */
    char *username;       /* owned: as it is stored */
};

static void registration_release(struct registration *reg) { mem_free(reg->username); }

static void note_taken(struct fields *f, const struct user_taken *taken)
{
    if (taken->username)
        fields_error(f, "username", "custom user with this username already exists.");
    if (taken->email)
        fields_error(f, "email", "custom user with this email already exists.");
}

/* Reads the fields and asks which names are taken, so that all faults are told at once. */
static enum err_code read_registration(struct request *req, struct fields *f,
                                       struct registration *reg, struct err *e)
{
    struct user_taken taken = {0};
    const char *again;
    enum err_code rc = ERR_OK;

    reg->user.username = fields_text(f, "username", USER_NAME_MAX, 0);
    reg->user.email = fields_email(f, "email", 0);
    if (reg->user.username || reg->user.email)
        rc = users_look_taken(api_db(req), reg->user.username, reg->user.email, &taken,
                              &reg->username, e);
    if (reg->username && text_count_chars(reg->username) > USER_NAME_MAX)
        fields_error(f, "username", "Ensure this field has no more than %d characters.",
                     USER_NAME_MAX);
    reg->user.username = reg->username;
    note_taken(f, &taken);
    reg->is_taken = taken.username || taken.email;
    reg->password = fields_text(f, "password", PASSWORD_MAX_CHARS, FIELD_RAW);
    again = fields_text(f, "password2", PASSWORD_MAX_CHARS, FIELD_RAW | FIELD_OPTIONAL);
    if (reg->password && again && strcmp(reg->password, again) != 0)
        fields_error(f, "password2", "The two password fields didn't match.");
    reg->user.first_name =
        fields_text(f, "first_name", USER_NAME_MAX, FIELD_OPTIONAL | FIELD_BLANK);
    reg->user.last_name = fields_text(f, "last_name", USER_NAME_MAX, FIELD_OPTIONAL | FIELD_BLANK);
    return rc;
}

static void judge_password(struct fields *f, const struct registration *reg)
{
    struct password_faults faults;

    password_judge(reg->password,
                   &(struct password_owner){reg->user.username, reg->user.first_name,
                                            reg->user.last_name, reg->user.email},
                   &faults);
    for (size_t i = 0; i < faults.count; i++)
        fields_error(f, "password", "%s", faults.messages[i]);
}

/* The password of an account that cannot be made is hashed, too: the answer says that the name is
 * taken, as Django REST framework's does, but asking costs as long as a registration. */
static enum err_code hash_password(struct request *req, const struct registration *reg,
                                   char ret_hash[PASSWORD_HASH_SIZE], struct err *e)
{
    api_give_back(req); /* hashing takes long, and needs none */
    return password_hash(reg->password, ret_hash, e);
}

enum err_code auth_register(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(fields_release) struct fields f = {0};
    AUTO_VALUE(registration_release) struct registration reg = {0};
    struct user_taken taken = {0};
    char hash[PASSWORD_HASH_SIZE];
    int64_t id;
    enum err_code rc;

    if (!fields_begin(&f, req->data, reply))
        return ERR_OK;
    rc = read_registration(req, &f, &reg, e);
    if (!rc && reg.is_taken && reg.password)
        rc = hash_password(req, &reg, hash, e);
    if (rc || !fields_end(&f, reply))
        return rc;
    judge_password(&f, &reg);
    if (!fields_end(&f, reply))
        return ERR_OK;
    rc = hash_password(req, &reg, hash, e);
    if (rc)
        return rc;
    reg.user.password_hash = hash;
    rc = users_create(api_db(req), &reg.user, &id, &taken, e);
    if (rc == ERR_CONFLICT) { /* somebody was faster */
        note_taken(&f, &taken);
        (void)fields_end(&f, reply);
        return ERR_OK;
    }
    if (rc)
        return rc;
    return reply_json(reply, 201,
                      json_pack("{s:I, s:s, s:s, s:s, s:s}", "id", (json_int_t)id, "username",
                                reg.user.username, "email", reg.user.email, "first_name",
                                reg.user.first_name ? reg.user.first_name : "", "last_name",
                                reg.user.last_name ? reg.user.last_name : ""),
                      e);
}

/* ---- tokens ---- */

/* A pair of tokens for a user; the refresh token is still unknown to the database. */
struct pair {
    char *access;  /* owned */
    char *refresh; /* owned */
    struct uuid refresh_jti;
    int64_t refresh_expires_us;
};

static void pair_release(struct pair *pair)
{
    mem_wipe_free(pair->access);
    mem_wipe_free(pair->refresh);
}

static enum err_code make_pair(const struct request *req, int64_t user_id, struct pair *ret_pair,
                               struct err *e)
{
    const struct token_keys keys = api_keys(req);
    int64_t now_us = clock_wall_us();
    struct uuid access_jti = uuid_v4();
    enum err_code rc =
        token_make(&keys, TOKEN_ACCESS, user_id, &access_jti, now_us, &ret_pair->access, e);

    ret_pair->refresh_jti = uuid_v4();
    ret_pair->refresh_expires_us = now_us + TOKEN_REFRESH_S * US_PER_S;
    if (!rc)
        rc = token_make(&keys, TOKEN_REFRESH, user_id, &ret_pair->refresh_jti, now_us,
                        &ret_pair->refresh, e);
    return rc;
}

static enum err_code check_password(struct request *req, const char *email, const char *password,
                                    int64_t *ret_user_id, bool *ret_matches, struct err *e)
{
    AUTO_VALUE(user_release) struct user user = {0};
    struct err missing = {0};
    enum err_code rc = users_find_by_email(api_db(req), email, &user, &missing);

    if (rc == ERR_UNAVAILABLE) /* the connection may have died while it was idle */
        rc = users_find_by_email(api_db(req), email, &user, &missing);
    if (rc && rc != ERR_NOT_FOUND)
        return err_set_detail(e, rc, missing.detail, "%s", missing.text);
    /* The connection is kept: how many there are bounds the guesses that are under way when the
     * first wrong one is counted. */
    rc = password_verify(user.password_hash, password, ret_matches, e);
    *ret_matches = !rc && *ret_matches && user.is_active;
    *ret_user_id = user.id;
    return rc;
}

/* Whether a guess at this account may be made now. Without Redis this process counts alone. */
static bool may_guess(struct request *req, const char *account, const char *address,
                      struct reply *reply)
{
    struct err e = {0};
    int64_t wait_s = 0;

    if (throttle_begin(api_redis(req), account, address, &wait_s, &e)) {
        log_debug("throttle_failed", L_ERR(&e));
        wait_s = limits_take('g', account, 4 * THROTTLE_FREE, 1, clock_mono_us());
    }
    if (wait_s > 0)
        guard_throttle(reply, wait_s);
    return wait_s == 0;
}

static void note_guess(struct request *req, const char *account, const char *address, bool is_right)
{
    struct err e = {0};
    enum err_code rc = is_right ? throttle_succeeded(api_redis(req), account, &e)
                                : throttle_failed(api_redis(req), account, address, &e);

    if (rc)
        log_debug("throttle_failed", L_ERR(&e));
}

/* As the database compares them; what is no ASCII stays as it is. */
static void name_account(const char *email, char ret_name[ACCOUNT_SIZE])
{
    size_t i = 0;

    for (; email[i] && i + 1 < ACCOUNT_SIZE; i++)
        ret_name[i] = (char)(email[i] >= 'A' && email[i] <= 'Z' ? email[i] - 'A' + 'a' : email[i]);
    ret_name[i] = '\0';
}

enum err_code auth_login(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(fields_release) struct fields f = {0};
    AUTO_VALUE(pair_release) struct pair pair = {0};
    char account[ACCOUNT_SIZE];
    char address[LIMITS_NAME_SIZE];
    const char *email;
    const char *password;
    int64_t user_id = 0;
    bool matches = false;
    enum err_code rc;

    if (!fields_begin(&f, req->data, reply))
        return ERR_OK;
    email = fields_text(&f, "email", USER_EMAIL_MAX, 0);
    password = fields_text(&f, "password", PASSWORD_MAX_CHARS, FIELD_RAW);
    if (!fields_end(&f, reply))
        return ERR_OK;
    name_account(email, account);
    limits_address(req, address);
    if (!may_guess(req, account, address, reply))
        return ERR_OK;
    rc = check_password(req, email, password, &user_id, &matches, e);
    if (rc)
        return rc;
    note_guess(req, account, address, matches);
    if (!matches)
        return refuse(reply, "{\"detail\":\"No active account found with the given credentials\"}");
    rc = make_pair(req, user_id, &pair, e);
    if (!rc)
        rc = sessions_start(api_db(req), user_id, &pair.refresh_jti, pair.refresh_expires_us, e);
    if (rc)
        return rc;
    return reply_json(reply, 200,
                      json_pack("{s:s, s:s}", "refresh", pair.refresh, "access", pair.access), e);
}

/* Reads {"refresh": TOKEN}. False: the reply is filled. */
static bool read_refresh(struct request *req, struct token_claims *ret_claims, struct reply *reply)
{
    AUTO_VALUE(fields_release) struct fields f = {0};
    const struct token_keys keys = api_keys(req);
    const char *token;
    enum token_verdict verdict;

    if (!fields_begin(&f, req->data, reply))
        return false;
    token = fields_text(&f, "refresh", TOKEN_SIZE_MAX, 0);
    if (!fields_end(&f, reply))
        return false;
    verdict = token_read(&keys, token, TOKEN_REFRESH, clock_wall_us(), ret_claims);
    if (verdict == TOKEN_GOOD)
        return true;
    (void)refuse(reply, verdict == TOKEN_WRONG_KIND
                            ? "{\"detail\":\"Token has wrong type\",\"code\":\"token_not_valid\"}"
                            : "{\"detail\":\"Token is invalid or expired\","
                              "\"code\":\"token_not_valid\"}");
    return false;
}

enum err_code auth_refresh(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(pair_release) struct pair pair = {0};
    struct token_claims claims;
    struct err denied = {0};
    enum err_code rc;

    if (!read_refresh(req, &claims, reply))
        return ERR_OK;
    rc = make_pair(req, claims.user_id, &pair, e);
    if (rc)
        return rc;
    rc = sessions_rotate(api_db(req), &claims.jti, &pair.refresh_jti, pair.refresh_expires_us,
                         &denied);
    if (rc == ERR_DENIED)
        return refuse(reply,
                      "{\"detail\":\"Token is invalid or expired\",\"code\":\"token_not_valid\"}");
    if (rc)
        return err_set_detail(e, rc, denied.detail, "%s", denied.text);
    return reply_json(reply, 200,
                      json_pack("{s:s, s:s}", "access", pair.access, "refresh", pair.refresh), e);
}

enum err_code auth_logout(struct request *req, struct reply *reply, struct err *e)
{
    struct token_claims claims;
    enum err_code rc;

    if (!read_refresh(req, &claims, reply))
        return ERR_OK;
    rc = sessions_end(api_db(req), &claims.jti, e);
    return rc ? rc : reply_json(reply, 200, json_object(), e);
}
