/* SPDX-License-Identifier: MIT
 *
 * Users, roles, passwords and tokens; see auth.h. Hashes are compared, so that neither time nor
 * length tells anything about a secret. A password that was right is remembered for a minute by a
 * keyed hash, since a script sends it with every request and Argon2id is made to be slow.
 *
 * `lock` guards the users, which may be replaced, and `memo_lock` everything that a check writes.
 */
#include "api/dashboard/auth.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <sodium.h>

#include "api/dashboard/guesses.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/password.h"
#include "common/text.h"

enum {
    HASH_SIZE = 32,
    CREDENTIALS_MAX = 512,
    USERS_MAX = 1000,
    LINE_MAX_BYTES = 512,
    MEMO_COUNT = 64,
    MEMO_S = 60,
};

#define TOKEN_MARK "$token$"

struct account {
    struct auth_user user;
    char hash[PASSWORD_HASH_SIZE]; /* Argon2id; "" for a token */
    unsigned char token[HASH_SIZE];
};

struct accounts {
    struct account *items; /* owned */
    size_t count;
};

struct auth {
    const char *path; /* of the file, "" when there is none */
    bool has_admin;   /* TILL_DASHBOARD_AUTH */
    char admin_name[AUTH_NAME_SIZE];
    unsigned char admin_hash[HASH_SIZE]; /* of "user:password" */
    pthread_rwlock_t lock;
    struct accounts accounts;
    pthread_mutex_t memo_lock;
    unsigned char memo_key[HASH_SIZE];
    struct {
        unsigned char hash[HASH_SIZE];
        int64_t until_us;
    } memo[MEMO_COUNT];
    struct guesses *guesses;
};

static const char *const role_names[] = {"none", "viewer", "operator", "admin"};

const char *role_name(enum role role) { return role_names[role]; }

static bool role_parse(const char *text, enum role *ret_role)
{
    for (int i = ROLE_VIEWER; i <= ROLE_ADMIN; i++) {
        if (strcmp(text, role_names[i]) == 0) {
            *ret_role = (enum role)i;
            return true;
        }
    }
    return false;
}

static void hash_of(const char *text, size_t len, unsigned char out[HASH_SIZE])
{
    crypto_generichash(out, HASH_SIZE, (const unsigned char *)text, len, NULL, 0);
}

/* ---- the file ---- */

static bool read_token(const char *hex, unsigned char out[HASH_SIZE])
{
    size_t len = 0;
    const char *end = NULL;

    return sodium_hex2bin(out, HASH_SIZE, hex, strlen(hex), NULL, &len, &end) == 0 &&
           len == HASH_SIZE && *end == '\0';
}

/* NAME:ROLE:HASH. False when it is not one. */
static bool read_account(char *line, struct account *ret_account)
{
    struct account account = {0};
    char *role = strchr(line, ':');
    char *hash = role ? strchr(role + 1, ':') : NULL;

    if (!hash || role == line)
        return false;
    *role++ = '\0';
    *hash++ = '\0';
    if (!role_parse(role, &account.user.role) || !text_is_utf8(line, strlen(line)) ||
        !text_format(account.user.name, sizeof account.user.name, "%s", line))
        return false;
    if (text_starts(hash, TOKEN_MARK)) {
        if (!read_token(hash + strlen(TOKEN_MARK), account.token))
            return false;
    } else if (!text_starts(hash, "$argon2id$") ||
               !text_format(account.hash, sizeof account.hash, "%s", hash)) {
        return false;
    }
    *ret_account = account;
    return true;
}

static enum err_code read_lines(FILE *in, const char *path, struct accounts *accounts,
                                struct err *e)
{
    char line[LINE_MAX_BYTES];

    for (int number = 1; fgets(line, sizeof line, in); number++) {
        char *text = line + strspn(line, " \t");

        text[strcspn(text, "\r\n")] = '\0';
        if (*text == '#' || *text == '\0')
            continue;
        if (accounts->count == USERS_MAX)
            return err_set(e, ERR_INVALID, "\"%.80s\" has more than %d users", path, USERS_MAX);
        if (!read_account(text, &accounts->items[accounts->count]))
            return err_set(e, ERR_INVALID,
                           "line %d of \"%.80s\" is not NAME:ROLE:HASH with a role of viewer,"
                           " operator or admin: make it by till dashboard user",
                           number, path);
        accounts->count++;
    }
    if (ferror(in))
        return err_set(e, ERR_INVALID, "cannot read \"%.80s\": %s", path, strerrordesc_np(errno));
    return ERR_OK;
}

static enum err_code read_file(const char *path, struct accounts *ret_accounts, struct err *e)
{
    AUTO(mem_free) struct account *items = NULL;
    struct accounts accounts = {0};
    enum err_code rc;
    FILE *in;

    if (!*path)
        return ERR_OK;
    in = fopen(path, "re");
    if (!in)
        return err_set(e, ERR_INVALID, "cannot read TILL_DASHBOARD_USERS \"%.80s\": %s", path,
                       strerrordesc_np(errno));
    accounts.items = items = mem_array(USERS_MAX, sizeof items[0]);
    rc = read_lines(in, path, &accounts, e);
    (void)fclose(in);
    if (!rc && accounts.count == 0)
        rc =
            err_set(e, ERR_INVALID, "\"%.80s\" has no user: make one by till dashboard user", path);
    if (rc)
        return rc;
    items = NULL;
    *ret_accounts = accounts;
    return ERR_OK;
}

enum err_code auth_reload(struct auth *auth, struct err *e)
{
    struct accounts accounts = {0};
    struct accounts old;
    enum err_code rc = read_file(auth->path, &accounts, e);

    if (rc)
        return rc;
    (void)pthread_rwlock_wrlock(&auth->lock);
    old = auth->accounts;
    auth->accounts = accounts;
    (void)pthread_rwlock_unlock(&auth->lock);
    mem_free(old.items);
    (void)pthread_mutex_lock(&auth->memo_lock);
    memset(auth->memo, 0, sizeof auth->memo);
    (void)pthread_mutex_unlock(&auth->memo_lock);
    return ERR_OK;
}

/* ---- start and end ---- */

static enum err_code read_setting(struct auth *auth, const char *setting, struct err *e)
{
    const char *colon = strchr(setting, ':');

    if (!*setting)
        return ERR_OK;
    if (!colon || colon == setting || !colon[1] || strlen(setting) > CREDENTIALS_MAX ||
        !text_format(auth->admin_name, sizeof auth->admin_name, "%.*s", (int)(colon - setting),
                     setting))
        return err_set(e, ERR_INVALID, "TILL_DASHBOARD_AUTH must be user:password");
    auth->has_admin = true;
    hash_of(setting, strlen(setting), auth->admin_hash);
    return ERR_OK;
}

enum err_code auth_new(const char *setting, const char *path, const char *listen,
                       struct auth **ret_auth, struct err *e)
{
    struct auth *auth = mem_alloc(sizeof *auth);
    enum err_code rc;

    auth->path = path;
    (void)pthread_rwlock_init(&auth->lock, NULL);
    (void)pthread_mutex_init(&auth->memo_lock, NULL);
    randombytes_buf(auth->memo_key, sizeof auth->memo_key);
    auth->guesses = guesses_new();
    rc = read_setting(auth, setting, e);
    if (!rc)
        rc = auth_reload(auth, e);
    if (!rc && !auth_is_required(auth) && !auth_is_loopback(listen))
        rc = err_set(e, ERR_INVALID,
                     "TILL_DASHBOARD_LISTEN is \"%.60s\", which others can reach: set"
                     " TILL_DASHBOARD_AUTH=user:password, or listen on 127.0.0.1",
                     listen);
    if (rc) {
        auth_free(auth);
        return rc;
    }
    *ret_auth = auth;
    return ERR_OK;
}

void auth_free(struct auth *auth)
{
    if (!auth)
        return;
    mem_free(auth->accounts.items);
    guesses_free(auth->guesses);
    (void)pthread_rwlock_destroy(&auth->lock);
    (void)pthread_mutex_destroy(&auth->memo_lock);
    mem_free(auth);
}

bool auth_has_users(const struct auth *auth) { return *auth->path != '\0'; }

bool auth_is_required(const struct auth *auth) { return auth->has_admin || auth_has_users(auth); }

/* ---- what was right a moment ago ---- */

static bool is_remembered(struct auth *auth, const unsigned char hash[HASH_SIZE])
{
    int64_t now_us = clock_mono_us();
    bool found = false;

    (void)pthread_mutex_lock(&auth->memo_lock);
    for (size_t i = 0; i < MEMO_COUNT; i++)
        if (auth->memo[i].until_us > now_us &&
            sodium_memcmp(auth->memo[i].hash, hash, HASH_SIZE) == 0)
            found = true;
    (void)pthread_mutex_unlock(&auth->memo_lock);
    return found;
}

static void remember(struct auth *auth, const unsigned char hash[HASH_SIZE])
{
    size_t place = hash[0] % MEMO_COUNT;

    (void)pthread_mutex_lock(&auth->memo_lock);
    memcpy(auth->memo[place].hash, hash, HASH_SIZE);
    auth->memo[place].until_us = clock_mono_us() + MEMO_S * US_PER_S;
    (void)pthread_mutex_unlock(&auth->memo_lock);
}

/* ---- checks ---- */

static bool find_account(struct auth *auth, const char *name, struct account *ret_account)
{
    bool found = false;

    (void)pthread_rwlock_rdlock(&auth->lock);
    for (size_t i = 0; i < auth->accounts.count && !found; i++) {
        const struct account *account = &auth->accounts.items[i];

        found = *account->hash && strcmp(account->user.name, name) == 0;
        if (found)
            *ret_account = *account;
    }
    (void)pthread_rwlock_unlock(&auth->lock);
    return found;
}

static struct auth_user admin_of(const struct auth *auth)
{
    struct auth_user user = {.role = ROLE_ADMIN};

    (void)snprintf(user.name, sizeof user.name, "%s", auth->admin_name);
    return user;
}

/* "user:password" of the setting. */
static bool is_admin(const struct auth *auth, const char *credentials)
{
    unsigned char hash[HASH_SIZE];

    hash_of(credentials, strlen(credentials), hash);
    return auth->has_admin && sodium_memcmp(hash, auth->admin_hash, sizeof hash) == 0;
}

/* The setting's hash is fast, the file's is slow on purpose. */
static enum err_code compare(struct auth *auth, const struct account *account, const char *password,
                             const char *credentials, bool *ret_matches, struct auth_user *ret_user,
                             struct err *e)
{
    bool matches = false;
    enum err_code rc = ERR_OK;

    if (is_admin(auth, credentials)) {
        *ret_user = admin_of(auth);
        *ret_matches = true;
        return ERR_OK;
    }
    if (auth_has_users(auth))
        rc = password_verify(*account->hash ? account->hash : NULL, password, &matches, e);
    if (!rc && matches)
        *ret_user = account->user;
    *ret_matches = matches;
    return rc;
}

/* The name as it can be logged: what is not UTF-8, or too long, is not. */
static void note_name(struct auth_try *io_try, const char *name)
{
    bool fits = text_is_utf8(name, strlen(name)) &&
                text_format(io_try->name, sizeof io_try->name, "%s", name);

    if (!fits)
        (void)snprintf(io_try->name, sizeof io_try->name, "?");
}

/* Counted before anything is compared, also with what was right a moment ago: else that would be
 * another place to guess at. */
static enum err_code check_credentials(struct auth *auth, struct auth_try *io_try, const char *name,
                                       const char *password, const char *credentials,
                                       struct auth_user *ret_user, struct err *e)
{
    struct account account = {0};
    struct auth_user user = {0};
    const struct guess guess = {.name = name,
                                .address = io_try->address,
                                .is_user = auth_find(auth, name, &user),
                                .now_us = clock_mono_us()};
    unsigned char key[HASH_SIZE];
    bool matches = false;
    enum err_code rc;

    io_try->wait_s = guesses_begin(auth->guesses, &guess);
    if (io_try->wait_s > 0)
        return err_set(e, ERR_CONFLICT, "too many wrong passwords: try again in some minutes");
    crypto_generichash(key, sizeof key, (const unsigned char *)credentials, strlen(credentials),
                       auth->memo_key, sizeof auth->memo_key);
    (void)find_account(auth, name, &account);
    if (guess.is_user && is_remembered(auth, key)) {
        *ret_user = is_admin(auth, credentials) ? admin_of(auth) : account.user;
        return ERR_OK;
    }
    rc = compare(auth, &account, password, credentials, &matches, ret_user, e);
    if (rc)
        return rc;
    io_try->was_compared = true;
    note_name(io_try, name);
    guesses_end(auth->guesses, &guess, matches);
    if (!matches)
        return err_set(e, ERR_DENIED, "name or password is wrong");
    remember(auth, key);
    return ERR_OK;
}

enum err_code auth_check_password(struct auth *auth, struct auth_try *io_try, const char *name,
                                  const char *password, struct auth_user *ret_user, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf credentials;
    enum err_code rc;

    buf_init(&credentials, CREDENTIALS_MAX);
    buf_addf(&credentials, "%s:%s", name, password);
    if (credentials.overflow || strchr(name, ':'))
        return err_set(e, ERR_DENIED, "name or password is wrong");
    rc = check_credentials(auth, io_try, name, password, credentials.data, ret_user, e);
    sodium_memzero(credentials.data, credentials.len);
    return rc;
}

static enum err_code check_basic(struct auth *auth, struct auth_try *io_try, const char *text,
                                 struct auth_user *ret_user, struct err *e)
{
    char given[CREDENTIALS_MAX + 1] = "";
    size_t len = 0;
    char *colon;
    enum err_code rc = ERR_DENIED;

    if (sodium_base642bin((unsigned char *)given, sizeof given - 1, text, strlen(text), " ", &len,
                          NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        return err_set(e, ERR_DENIED, "name or password is wrong");
    given[len] = '\0';
    colon = strchr(given, ':');
    if (colon && strlen(given) == len) {
        *colon = '\0';
        rc = auth_check_password(auth, io_try, given, colon + 1, ret_user, e);
    }
    sodium_memzero(given, sizeof given);
    return rc ? err_set(e, rc, "name or password is wrong") : ERR_OK;
}

static enum err_code check_token(struct auth *auth, const char *token, struct auth_user *ret_user,
                                 struct err *e)
{
    unsigned char hash[HASH_SIZE];
    bool found = false;

    hash_of(token, strlen(token), hash);
    (void)pthread_rwlock_rdlock(&auth->lock);
    for (size_t i = 0; i < auth->accounts.count; i++) {
        const struct account *account = &auth->accounts.items[i];

        if (!*account->hash && sodium_memcmp(account->token, hash, sizeof hash) == 0) {
            *ret_user = account->user;
            found = true;
        }
    }
    (void)pthread_rwlock_unlock(&auth->lock);
    return found ? ERR_OK : err_set(e, ERR_DENIED, "the token is not known");
}

enum err_code auth_check_header(struct auth *auth, struct auth_try *io_try, const char *header,
                                struct auth_user *ret_user, struct err *e)
{
    if (strncasecmp(header, "Basic ", 6) == 0)
        return check_basic(auth, io_try, header + 6, ret_user, e);
    if (strncasecmp(header, "Bearer ", 7) == 0 && strlen(header) <= CREDENTIALS_MAX)
        return check_token(auth, header + 7 + strspn(header + 7, " "), ret_user, e);
    return err_set(e, ERR_DENIED, "Authorization is Basic or Bearer");
}

bool auth_find(struct auth *auth, const char *name, struct auth_user *ret_user)
{
    struct account account = {0};

    if (auth->has_admin && strcmp(name, auth->admin_name) == 0) {
        *ret_user = admin_of(auth);
        return true;
    }
    if (!find_account(auth, name, &account))
        return false;
    *ret_user = account.user;
    return true;
}
