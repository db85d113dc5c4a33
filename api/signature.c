/* SPDX-License-Identifier: MIT
 *
 * Stripe's webhook signatures; see signature.h. Every v1 is compared in constant time, and the time
 * is judged only after the signature: before that it is nobody's word.
 */
#include "api/signature.h"

#include <stdbool.h>
#include <string.h>

#include <sodium.h>

#include "common/clock.h"
#include "common/text.h"

enum { MAC_SIZE = crypto_auth_hmacsha256_BYTES, TIME_SIZE = 24 };

/* The parts of a header, as texts of their own length within it. */
struct part {
    const char *text;
    size_t len;
};

/* The next "name=value" of the header, or false at its end. */
static bool next_part(const char **at, struct part *ret_name, struct part *ret_value)
{
    size_t len = strcspn(*at, ",");
    const char *equals = memchr(*at, '=', len);

    if (!**at)
        return false;
    *ret_name = (struct part){*at, equals ? (size_t)(equals - *at) : len};
    *ret_value = (struct part){equals ? equals + 1 : *at + len, 0};
    ret_value->len = (size_t)(*at + len - ret_value->text);
    *at += len + ((*at)[len] == ',');
    return true;
}

static bool is_named(const struct part *name, const char *wanted)
{
    return name->len == strlen(wanted) && memcmp(name->text, wanted, name->len) == 0;
}

/* The one time of the header. False: there is none, or several, or it is no number. */
static bool find_time(const char *header, char ret_text[TIME_SIZE], int64_t *ret_seconds)
{
    struct part name;
    struct part value;
    int found = 0;

    while (next_part(&header, &name, &value)) {
        if (!is_named(&name, "t"))
            continue;
        if (++found > 1 || value.len >= TIME_SIZE)
            return false;
        memcpy(ret_text, value.text, value.len);
        ret_text[value.len] = '\0';
    }
    return found == 1 && text_to_int(ret_text, 0, INT64_MAX / US_PER_S, ret_seconds);
}

static void sign(const char *secret, const char *time, const char *body, size_t len,
                 unsigned char ret_mac[MAC_SIZE])
{
    crypto_auth_hmacsha256_state state;

    (void)crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret, strlen(secret));
    (void)crypto_auth_hmacsha256_update(&state, (const unsigned char *)time, strlen(time));
    (void)crypto_auth_hmacsha256_update(&state, (const unsigned char *)".", 1);
    (void)crypto_auth_hmacsha256_update(&state, (const unsigned char *)body, len);
    (void)crypto_auth_hmacsha256_final(&state, ret_mac);
    sodium_memzero(&state, sizeof state);
}

static bool is_equal(const struct part *hex, const unsigned char mac[MAC_SIZE])
{
    unsigned char given[MAC_SIZE];
    size_t count = 0;

    return hex->len == 2 * sizeof given &&
           sodium_hex2bin(given, sizeof given, hex->text, hex->len, NULL, &count, NULL) == 0 &&
           count == sizeof given && sodium_memcmp(given, mac, sizeof given) == 0;
}

enum signature_verdict signature_check(const char *header, const char *secret, const char *body,
                                       size_t len, int64_t now_us)
{
    unsigned char mac[MAC_SIZE];
    char time[TIME_SIZE] = "";
    int64_t seconds = 0;
    int64_t now = now_us / US_PER_S;
    bool has_v1 = false;
    bool is_good = false;
    struct part name;
    struct part value;

    if (!header || !*secret)
        return SIGNATURE_MISSING;
    if (strlen(header) > SIGNATURE_HEADER_MAX || !find_time(header, time, &seconds))
        return SIGNATURE_MALFORMED;
    sign(secret, time, body, len, mac);
    for (const char *at = header; next_part(&at, &name, &value);) {
        if (!is_named(&name, "v1"))
            continue;
        has_v1 = true;
        is_good = is_equal(&value, mac) || is_good;
    }
    if (!has_v1)
        return SIGNATURE_MALFORMED;
    if (!is_good)
        return SIGNATURE_WRONG;
    if (seconds < now - SIGNATURE_TOLERANCE_S || seconds > now + SIGNATURE_TOLERANCE_S)
        return SIGNATURE_STALE;
    return SIGNATURE_GOOD;
}
