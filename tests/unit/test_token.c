/* SPDX-License-Identifier: MIT
 *
 * Tokens that are good, and many that are not.
 */
#include "api/token.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define OTHER "another secret of thirty-two bytes"
#define NOW (INT64_C(1800000000) * US_PER_S)
#define KEYS(present, previous) (&(struct token_keys){present, previous})
#define ONLY(secret) KEYS(secret, NULL)
#define HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define JTI "42d4e801-e25b-4006-9673-0e29bf7bcff3"
#define GOOD_BUT(type, user, iat, nbf, exp)                                                        \
    "{\"iss\":\"till\",\"aud\":\"till-api\",\"token_type\":" type ",\"jti\":\"" JTI                \
    "\",\"user_id\":" user ",\"iat\":" iat ",\"nbf\":" nbf ",\"exp\":" exp "}"
#define GOOD GOOD_BUT("\"access\"", "7", "1800000000", "1800000000", "1800000900")

static void add_base64(struct buf *out, const void *data, size_t len)
{
    char text[8192];

    sodium_bin2base64(text, sizeof text, data, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    buf_add_str(out, text);
}

/* Signs any header and claims with HMAC-SHA-256, so that only what stands in them is judged. */
static char *sign(const char *header, const char *claims, const char *secret)
{
    AUTO_VALUE(buf_release) struct buf out;
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;

    buf_init(&out, 16 * 1024);
    add_base64(&out, header, strlen(header));
    buf_add_char(&out, '.');
    add_base64(&out, claims, strlen(claims));
    crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret, strlen(secret));
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)out.data, out.len);
    crypto_auth_hmacsha256_final(&state, mac);
    buf_add_char(&out, '.');
    add_base64(&out, mac, sizeof mac);
    return buf_take(&out);
}

static enum token_verdict judge(const char *text)
{
    struct token_claims claims = {0};

    return token_read(ONLY(SECRET), text, TOKEN_ACCESS, NOW, &claims);
}

static enum token_verdict judge_signed(const char *header, const char *claims)
{
    AUTO(mem_free) char *text = sign(header, claims, SECRET);

    return judge(text);
}

Test(token, is_read_as_it_was_made)
{
    struct uuid jti = uuid_v4();
    struct token_claims claims = {0};

    for (int kind = TOKEN_ACCESS; kind <= TOKEN_REFRESH; kind++) {
        AUTO(mem_free) char *text = NULL;
        int64_t life = kind == TOKEN_ACCESS ? 900 : 7 * 86400;

        cr_assert_eq(token_make(ONLY(SECRET), kind, 42, &jti, NOW, &text, NULL), ERR_OK);
        cr_assert_eq(token_read(ONLY(SECRET), text, kind, NOW, &claims), TOKEN_GOOD);
        cr_assert_eq(claims.user_id, 42);
        cr_assert_str_eq(claims.jti.text, jti.text);
        cr_assert_eq(claims.expires_us, NOW + life * US_PER_S);
        cr_assert_eq(token_read(ONLY(SECRET), text, !kind, NOW, &claims), TOKEN_WRONG_KIND);
        cr_assert_eq(token_read(ONLY(OTHER), text, kind, NOW, &claims), TOKEN_BAD);
        cr_assert_eq(token_read(ONLY(SECRET), text, kind, NOW + (life + 59) * US_PER_S, &claims),
                     TOKEN_GOOD);
        cr_assert_eq(token_read(ONLY(SECRET), text, kind, NOW + (life + 60) * US_PER_S, &claims),
                     TOKEN_BAD);
        cr_assert_eq(token_read(ONLY(SECRET), text, kind, NOW - 60 * US_PER_S, &claims),
                     TOKEN_GOOD);
        cr_assert_eq(token_read(ONLY(SECRET), text, kind, NOW - 61 * US_PER_S, &claims), TOKEN_BAD);
    }
}

Test(token, a_key_can_be_changed)
{
    struct uuid jti = uuid_v4();
    struct token_claims claims = {0};
    AUTO(mem_free) char *old = NULL;
    AUTO(mem_free) char *new = NULL;

    cr_assert_eq(token_make(ONLY(SECRET), TOKEN_REFRESH, 42, &jti, NOW, &old, NULL), ERR_OK);
    cr_assert_eq(token_make(KEYS(OTHER, SECRET), TOKEN_REFRESH, 42, &jti, NOW, &new, NULL), ERR_OK);
    cr_assert_eq(token_read(KEYS(OTHER, SECRET), old, TOKEN_REFRESH, NOW, &claims), TOKEN_GOOD);
    cr_assert_eq(claims.user_id, 42);
    cr_assert_eq(token_read(KEYS(OTHER, SECRET), new, TOKEN_REFRESH, NOW, &claims), TOKEN_GOOD);
    /* Signed with the new key alone, which those know who know it as the other one. */
    cr_assert_eq(token_read(ONLY(OTHER), new, TOKEN_REFRESH, NOW, &claims), TOKEN_GOOD);
    cr_assert_eq(token_read(KEYS(SECRET, OTHER), new, TOKEN_REFRESH, NOW, &claims), TOKEN_GOOD);
    cr_assert_eq(token_read(ONLY(SECRET), new, TOKEN_REFRESH, NOW, &claims), TOKEN_BAD);
    cr_assert_eq(token_read(KEYS(OTHER, ""), old, TOKEN_REFRESH, NOW, &claims), TOKEN_BAD);
    cr_assert_eq(token_read(KEYS(OTHER, "short"), old, TOKEN_REFRESH, NOW, &claims), TOKEN_BAD);
}

/* The header that names a key, from a token that was signed with it. */
static char *header_of(const struct token_keys *keys)
{
    struct uuid jti = uuid_v4();
    AUTO(mem_free) char *text = NULL;
    char *header = mem_alloc(200);
    size_t len = 0;

    cr_assert_eq(token_make(keys, TOKEN_ACCESS, 1, &jti, NOW, &text, NULL), ERR_OK);
    cr_assert_eq(sodium_base642bin((unsigned char *)header, 199, text, strcspn(text, "."), NULL,
                                   &len, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                 0);
    return header;
}

Test(token, a_name_of_a_key_opens_nothing_but_that_key)
{
    AUTO(mem_free) char *named = header_of(KEYS(SECRET, OTHER));
    AUTO(mem_free) char *good = sign(named, GOOD, SECRET);
    AUTO(mem_free) char *forged = sign(named, GOOD, OTHER);
    AUTO(mem_free) char *plain = sign(HEADER, GOOD, SECRET);
    struct token_claims claims;

    cr_assert_null(strstr(named, SECRET));
    cr_assert_eq(token_read(KEYS(OTHER, SECRET), good, TOKEN_ACCESS, NOW, &claims), TOKEN_GOOD);
    cr_assert_eq(token_read(KEYS(OTHER, SECRET), forged, TOKEN_ACCESS, NOW, &claims), TOKEN_BAD);
    /* Without a name it may be of either, and of no other. */
    cr_assert_eq(token_read(KEYS(SECRET, OTHER), plain, TOKEN_ACCESS, NOW, &claims), TOKEN_GOOD);
    cr_assert_eq(token_read(KEYS(OTHER, SECRET), plain, TOKEN_ACCESS, NOW, &claims), TOKEN_GOOD);
    cr_assert_eq(token_read(ONLY(OTHER), plain, TOKEN_ACCESS, NOW, &claims), TOKEN_BAD);
}

/* Which a till-api of the version before, that runs beside this one, would refuse. */
Test(token, names_no_key_while_there_is_one)
{
    AUTO(mem_free) char *header = header_of(ONLY(SECRET));

    cr_assert_null(strstr(header, "kid"), "%s", header);
}

Test(token, needs_a_long_secret)
{
    struct uuid jti = uuid_v4();
    struct token_claims claims;
    AUTO(mem_free) char *weak = sign(HEADER, GOOD, "short");
    char *text = NULL;

    cr_assert_eq(token_make(ONLY("short"), TOKEN_ACCESS, 1, &jti, NOW, &text, NULL), ERR_INVALID);
    cr_assert_null(text);
    cr_assert_eq(token_read(ONLY("short"), weak, TOKEN_ACCESS, NOW, &claims), TOKEN_BAD);
    cr_assert_eq(token_read(ONLY(""), weak, TOKEN_ACCESS, NOW, &claims), TOKEN_BAD);
}

Test(token, ours_is_good)
{
    cr_assert_eq(judge_signed(HEADER, GOOD), TOKEN_GOOD);
    cr_assert_eq(judge_signed("{\"alg\":\"HS256\"}", GOOD), TOKEN_GOOD);
}

Test(token, bad_headers)
{
    static const char *const headers[] = {
        "{\"alg\":\"none\"}",
        "{\"alg\":\"NoNe\",\"typ\":\"JWT\"}",
        "{\"alg\":\"NONE\",\"typ\":\"JWT\"}",
        "{\"alg\":\"\",\"typ\":\"JWT\"}",
        "{\"alg\":null,\"typ\":\"JWT\"}",
        "{\"alg\":\"HS512\",\"typ\":\"JWT\"}",
        "{\"alg\":\"HS384\",\"typ\":\"JWT\"}",
        "{\"alg\":\"RS256\",\"typ\":\"JWT\"}",
        "{\"alg\":\"hs256\",\"typ\":\"JWT\"}",
        "{\"alg\":[\"HS256\"],\"typ\":\"JWT\"}",
        "{\"typ\":\"JWT\"}",
        "{}",
        "[]",
        "\"HS256\"",
        "",
        "{\"alg\":\"HS256\",\"alg\":\"none\"}",
        "{\"alg\":\"none\",\"alg\":\"HS256\"}",
        "{\"alg\":\"HS256\",\"typ\":\"JWE\"}",
        "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"../../dev/null\"}",
        "{\"alg\":\"HS256\",\"kid\":\"1\"}",
        "{\"alg\":\"HS256\",\"jku\":\"https://evil.example/\"}",
        "{\"alg\":\"HS256\",\"jwk\":{}}",
        "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"crit\":[\"exp\"]}",
        "{\"alg\":\"HS256\"} x",
        "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"\"}",
        "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":null}",
        "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":[\"0\"]}",
        "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"0123456789abcdef\"}",
    };

    for (size_t i = 0; i < COUNT_OF(headers); i++)
        cr_assert_eq(judge_signed(headers[i], GOOD), TOKEN_BAD, "%s", headers[i]);
}

Test(token, bad_claims)
{
    static const char *const claims[] = {
        "",
        "{}",
        "[]",
        "null",
        GOOD " ",
        GOOD "{}",
        GOOD_BUT("\"access\"", "7", "1800000000", "1800000000", "\"1800000900\""),
        GOOD_BUT("\"access\"", "7", "1800000000", "1800000000", "1800000900.0"),
        GOOD_BUT("\"access\"", "7", "1800000000", "1800000000", "1.8e9"),
        GOOD_BUT("\"access\"", "7", "1800000000", "1800000000", "null"),
        GOOD_BUT("\"access\"", "7", "1800000000", "1800000000", "true"),
        GOOD_BUT("\"access\"", "7", "1800000000", "1800000000", "-1"),
        GOOD_BUT("\"access\"", "7", "1800000000", "1800000000", "0"),
        GOOD_BUT("\"access\"", "7", "1800000000", "1800000000", "9223372036854775807"),
        GOOD_BUT("\"access\"", "7", "1800000000", "1800000000", "99999999999999999999"),
        GOOD_BUT("\"access\"", "7", "1700000000", "1700000000", "1799999940"),
        GOOD_BUT("\"access\"", "7", "1800000061", "1800000000", "1800000900"),
        GOOD_BUT("\"access\"", "7", "1800000000", "1800000061", "1800000900"),
        GOOD_BUT("\"access\"", "7", "\"1800000000\"", "1800000000", "1800000900"),
        GOOD_BUT("\"access\"", "7", "1800000000", "[1800000000]", "1800000900"),
        GOOD_BUT("\"access\"", "7", "1800000000", "1800000000", "1800000000"),
        GOOD_BUT("\"access\"", "\"7\"", "1800000000", "1800000000", "1800000900"),
        GOOD_BUT("\"access\"", "0", "1800000000", "1800000000", "1800000900"),
        GOOD_BUT("\"access\"", "-7", "1800000000", "1800000000", "1800000900"),
        GOOD_BUT("\"access\"", "7.0", "1800000000", "1800000000", "1800000900"),
        GOOD_BUT("\"access\"", "null", "1800000000", "1800000000", "1800000900"),
        GOOD_BUT("\"access\",\"user_id\":1", "7", "1800000000", "1800000000", "1800000900"),
        GOOD_BUT("\"access\",\"exp\":1", "7", "1800000000", "1800000000", "1800000900"),
        GOOD_BUT("\"access\"", "7", "1800000000", "1800000000", "1800000900,\"exp\":1900000000"),
        GOOD_BUT("null", "7", "1800000000", "1800000000", "1800000900"),
        "{\"token_type\":\"access\",\"jti\":\"" JTI "\",\"user_id\":7,\"iat\":1800000000,"
        "\"nbf\":1800000000,\"exp\":1800000900}",
        "{\"iss\":\"other\",\"aud\":\"till-api\",\"token_type\":\"access\",\"jti\":\"" JTI
        "\",\"user_id\":7,\"iat\":1800000000,\"nbf\":1800000000,\"exp\":1800000900}",
        "{\"iss\":\"till\",\"aud\":\"other\",\"token_type\":\"access\",\"jti\":\"" JTI
        "\",\"user_id\":7,\"iat\":1800000000,\"nbf\":1800000000,\"exp\":1800000900}",
        "{\"iss\":\"till\",\"aud\":[\"till-api\"],\"token_type\":\"access\",\"jti\":\"" JTI
        "\",\"user_id\":7,\"iat\":1800000000,\"nbf\":1800000000,\"exp\":1800000900}",
        "{\"iss\":\"till\",\"aud\":\"till-api\",\"token_type\":\"access\",\"jti\":\"x\","
        "\"user_id\":7,\"iat\":1800000000,\"nbf\":1800000000,\"exp\":1800000900}",
        "{\"iss\":\"till\",\"aud\":\"till-api\",\"token_type\":\"access\",\"user_id\":7,"
        "\"iat\":1800000000,\"nbf\":1800000000,\"exp\":1800000900}",
        "{\"iss\":\"till\",\"aud\":\"till-api\",\"token_type\":\"access\",\"jti\":\"" JTI
        "\",\"user_id\":7,\"iat\":1800000000,\"exp\":1800000900}",
        "{\"iss\":\"till\",\"aud\":\"till-api\",\"token_type\":\"access\",\"jti\":\"" JTI
        "\",\"user_id\":7,\"iat\":1800000000,\"nbf\":1800000000}",
    };

    for (size_t i = 0; i < COUNT_OF(claims); i++) {
        /* A blank after the object is good JSON; it is here to show that the rest is judged. */
        enum token_verdict expected = i == 4 ? TOKEN_GOOD : TOKEN_BAD;

        cr_assert_eq(judge_signed(HEADER, claims[i]), expected, "%s", claims[i]);
    }
    cr_assert_eq(judge_signed(HEADER, GOOD_BUT("\"refresh\"", "7", "1800000000", "1800000000",
                                               "1800000900")),
                 TOKEN_WRONG_KIND);
}

Test(token, bad_texts)
{
    AUTO(mem_free) char *good = sign(HEADER, GOOD, SECRET);
    AUTO(mem_free) char *other = sign(HEADER, GOOD, OTHER);
    AUTO(mem_free) char *huge = mem_alloc(TOKEN_SIZE_MAX + 100);
    const char *last_dot = strrchr(good, '.');
    static const char *const texts[] = {"",        ".",        "..",         "...",  "a",
                                        "a.b",     "a.b.",     ".b.c",       "a..c", "a.b.c",
                                        "a.b.c.d", "e30.e30.", "e30.e30.e30"};

    for (size_t i = 0; i < COUNT_OF(texts); i++)
        cr_assert_eq(judge(texts[i]), TOKEN_BAD, "%s", texts[i]);
    cr_assert_eq(judge(good), TOKEN_GOOD);
    cr_assert_eq(judge(other), TOKEN_BAD);
    for (size_t i = 0, len = strlen(good); i < len; i++) { /* any changed letter */
        char kept = good[i];

        good[i] = kept == 'A' ? 'B' : 'A';
        cr_assert_eq(judge(good), TOKEN_BAD, "changed at %zu", i);
        good[i] = kept;
    }
    memcpy(huge, good, (size_t)(last_dot - good) + 1); /* no signature */
    cr_assert_eq(judge(huge), TOKEN_BAD);
    memcpy(huge, good, strlen(good) + 1);
    huge[strlen(good)] = '=';
    cr_assert_eq(judge(huge), TOKEN_BAD);
    memset(huge + strlen(good), 'A', TOKEN_SIZE_MAX + 50 - strlen(good));
    cr_assert_eq(judge(huge), TOKEN_BAD);
}
