/* SPDX-License-Identifier: MIT
 *
 * Strict JSON web tokens; see token.h. libjwt 1.10 signs and verifies; it checks no time, takes
 * another algorithm of the same key, a text where a number belongs, and the last of two equal
 * claims (reading them with its accessors would repeat that). So header and claims are read here,
 * from the very bytes whose signature was verified.
 */
#include "api/token.h"

#include <stdlib.h>
#include <string.h>

#include <jwt.h>
#include <sodium.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"

#define ISSUER "till"
#define AUDIENCE "till-api"
/* Hashed before a key, so that its name is of no use anywhere else. */
#define KEY_NAME_OF "till token key "

enum { KEY_NAME_BYTES = 8, KEY_NAME_SIZE = 2 * KEY_NAME_BYTES + 1 };

AUTO_DEFINE(jwt_t *, jwt_free);

static const char *kind_name(enum token_kind kind)
{
    return kind == TOKEN_ACCESS ? "access" : "refresh";
}

/* ---- keys ---- */

static void name_key(const char *secret, char ret_name[KEY_NAME_SIZE])
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state state;

    (void)crypto_hash_sha256_init(&state);
    (void)crypto_hash_sha256_update(&state, (const unsigned char *)KEY_NAME_OF,
                                    strlen(KEY_NAME_OF));
    (void)crypto_hash_sha256_update(&state, (const unsigned char *)secret, strlen(secret));
    (void)crypto_hash_sha256_final(&state, hash);
    (void)sodium_bin2hex(ret_name, KEY_NAME_SIZE, hash, KEY_NAME_BYTES);
}

static bool is_good_key(const char *secret) { return secret && strlen(secret) >= TOKEN_SECRET_MIN; }

static bool is_key_of(const char *secret, const char *name)
{
    char own[KEY_NAME_SIZE];

    if (!is_good_key(secret))
        return false;
    name_key(secret, own);
    return strcmp(own, name) == 0;
}

/* The key that a name stands for, NULL: none of ours. */
static const char *find_key(const struct token_keys *keys, const char *name)
{
    if (is_key_of(keys->present, name))
        return keys->present;
    return is_key_of(keys->previous, name) ? keys->previous : NULL;
}

/* ---- making ---- */

/* A token names its key while there are two of them: a till-api of the version before, which may
 * run beside this one, knows no names. */
static enum err_code sign(const struct token_keys *keys, const json_t *claims, char **ret_text,
                          struct err *e)
{
    const char *secret = keys->present;
    AUTO(jwt_free) jwt_t *jwt = NULL;
    AUTO(mem_free) char *json = json_write(claims);
    char name[KEY_NAME_SIZE];
    char *text = NULL;

    name_key(secret, name);
    if (json && jwt_new(&jwt) == 0 && jwt_add_grants_json(jwt, json) == 0 &&
        (!is_good_key(keys->previous) || jwt_add_header(jwt, "kid", name) == 0) &&
        jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *)secret, (int)strlen(secret)) == 0)
        text = jwt_encode_str(jwt);
    if (!text)
        return err_set(e, ERR_NOMEM, "cannot sign a token");
    *ret_text = mem_dup(text);
    free(text);
    return ERR_OK;
}

enum err_code token_make(const struct token_keys *keys, enum token_kind kind, int64_t user_id,
                         const struct uuid *jti, int64_t now_us, char **ret_text, struct err *e)
{
    int64_t now = now_us / US_PER_S;
    int64_t life = kind == TOKEN_ACCESS ? TOKEN_ACCESS_S : TOKEN_REFRESH_S;
    AUTO(json_decref) json_t *claims = NULL;

    if (!is_good_key(keys->present))
        return err_set(e, ERR_INVALID, "JWT_SECRET is shorter than %d bytes", TOKEN_SECRET_MIN);
    claims =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "iss", ISSUER, "aud", AUDIENCE,
                  "token_type", kind_name(kind), "jti", jti->text, "user_id", (json_int_t)user_id,
                  "iat", (json_int_t)now, "nbf", (json_int_t)now, "exp", (json_int_t)now + life);
    return sign(keys, claims, ret_text, e);
}

/* ---- reading ---- */

/* Decodes one segment (base64url without padding, canonical) as a JSON object. */
static json_t *read_segment(const char *text, size_t len)
{
    unsigned char bytes[TOKEN_SIZE_MAX];
    size_t count = 0;
    json_t *value = NULL;

    if (sodium_base642bin(bytes, sizeof bytes, text, len, NULL, &count, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return NULL;
    if (json_read((const char *)bytes, count, sizeof bytes, &value, NULL))
        return NULL;
    if (!json_is_object(value)) {
        json_decref(value);
        return NULL;
    }
    return value;
}

static bool is_text(const json_t *object, const char *key, const char *wanted)
{
    const char *value = json_member_text(object, key);

    return value && strcmp(value, wanted) == 0;
}

/* Nothing but the algorithm and, if at all, the type and the name of a key of ours: no URLs, no
 * extensions. Gives the key that is named, or NULL when none is. */
static bool read_header(const struct token_keys *keys, const char *text, size_t len,
                        const char **ret_key)
{
    AUTO(json_decref) json_t *header = read_segment(text, len);
    const json_t *kid = header ? json_object_get(header, "kid") : NULL;
    size_t known = 1 + (kid != NULL);

    if (!header || !is_text(header, "alg", "HS256"))
        return false;
    if (json_object_get(header, "typ")) {
        if (!is_text(header, "typ", "JWT"))
            return false;
        known++;
    }
    *ret_key = json_is_string(kid) ? find_key(keys, json_string_value(kid)) : NULL;
    return json_object_size(header) == known && (!kid || *ret_key);
}

static bool is_signed(const char *secret, const char *text)
{
    AUTO(jwt_free) jwt_t *jwt = NULL;

    /* A key of NULL would accept everything, so it is never passed. */
    return jwt_decode(&jwt, text, (const unsigned char *)secret, (int)strlen(secret)) == 0 &&
           jwt_get_alg(jwt) == JWT_ALG_HS256;
}

/* By the key that it names, or else by one of ours. */
static bool is_ours(const struct token_keys *keys, const char *key, const char *text)
{
    if (key)
        return is_signed(key, text);
    return is_signed(keys->present, text) ||
           (is_good_key(keys->previous) && is_signed(keys->previous, text));
}

static bool read_int(const json_t *claims, const char *key, int64_t *ret)
{
    const json_t *value = json_object_get(claims, key);

    if (!json_is_integer(value))
        return false;
    *ret = json_integer_value(value);
    return *ret > 0 && *ret < INT64_MAX / US_PER_S;
}

static bool is_in_time(const json_t *claims, int64_t now_us, int64_t *ret_expires_us)
{
    int64_t now = now_us / US_PER_S;
    int64_t issued;
    int64_t not_before;
    int64_t expires;

    if (!read_int(claims, "iat", &issued) || !read_int(claims, "nbf", &not_before) ||
        !read_int(claims, "exp", &expires))
        return false;
    if (issued > now + TOKEN_SKEW_S || not_before > now + TOKEN_SKEW_S ||
        expires + TOKEN_SKEW_S <= now || expires <= issued)
        return false;
    *ret_expires_us = expires * US_PER_S;
    return true;
}

/* Whether the text is three segments that are not empty; gives the first two dots. */
static bool find_dots(const char *text, const char **ret_first, const char **ret_second)
{
    const char *first = strchr(text, '.');
    const char *second = first ? strchr(first + 1, '.') : NULL;

    if (!second || strchr(second + 1, '.') || first == text || second == first + 1 || !second[1])
        return false;
    *ret_first = first;
    *ret_second = second;
    return true;
}

enum token_verdict token_read(const struct token_keys *keys, const char *text, enum token_kind kind,
                              int64_t now_us, struct token_claims *ret_claims)
{
    AUTO(json_decref) json_t *claims = NULL;
    struct token_claims read = {0};
    const char *key = NULL;
    const char *first;
    const char *second;
    const char *jti;

    if (!is_good_key(keys->present) || strlen(text) > TOKEN_SIZE_MAX ||
        !find_dots(text, &first, &second) ||
        !read_header(keys, text, (size_t)(first - text), &key) || !is_ours(keys, key, text))
        return TOKEN_BAD;
    claims = read_segment(first + 1, (size_t)(second - first - 1));
    jti = claims ? json_member_text(claims, "jti") : NULL;
    if (!jti || !uuid_parse(jti, &read.jti) || !is_text(claims, "iss", ISSUER) ||
        !is_text(claims, "aud", AUDIENCE) || !read_int(claims, "user_id", &read.user_id) ||
        !is_in_time(claims, now_us, &read.expires_us) || !json_member_text(claims, "token_type"))
        return TOKEN_BAD;
    if (!is_text(claims, "token_type", kind_name(kind)))
        return TOKEN_WRONG_KIND;
    *ret_claims = read;
    return TOKEN_GOOD;
}
