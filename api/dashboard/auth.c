/* SPDX-License-Identifier: MIT
 *
 * Basic authentication and what takes its place on loopback; see auth.h. Hashes are compared, so
 * that neither time nor length tells anything about the password.
 */
#include "api/dashboard/auth.h"

#include <string.h>
#include <strings.h>

#include <arpa/inet.h>
#include <sodium.h>

#include "common/buf.h"

enum { CREDENTIALS_MAX = 512 };

static void hash_of(const char *text, size_t len, unsigned char out[AUTH_HASH_SIZE])
{
    crypto_generichash(out, AUTH_HASH_SIZE, (const unsigned char *)text, len, NULL, 0);
}

static bool is_loopback_address(const char *text, size_t len)
{
    char host[16];
    struct in_addr address;

    if (len == 0 || len >= sizeof host)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    return inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

bool auth_is_loopback(const char *listen)
{
    /* Several may stand there, separated by commas; a port alone is every address. */
    for (const char *p = listen;; p++) {
        size_t len = strcspn(p, ",");
        const char *colon = memchr(p, ':', len);

        if (!colon || !is_loopback_address(p, (size_t)(colon - p)))
            return false;
        p += len;
        if (!*p)
            return true;
    }
}

bool auth_is_local_host(const char *host)
{
    size_t len = host ? strcspn(host, ":") : 0;

    if (len == 9 && strncasecmp(host, "localhost", len) == 0)
        return true;
    return host && is_loopback_address(host, len);
}

enum err_code auth_init(struct auth *auth, const char *setting, const char *listen, struct err *e)
{
    const char *colon = strchr(setting, ':');

    if (*setting && (!colon || colon == setting || !colon[1] || strlen(setting) > CREDENTIALS_MAX))
        return err_set(e, ERR_INVALID, "TILL_DASHBOARD_AUTH must be user:password");
    if (!*setting && !auth_is_loopback(listen))
        return err_set(e, ERR_INVALID,
                       "TILL_DASHBOARD_LISTEN is \"%.60s\", which others can reach: set"
                       " TILL_DASHBOARD_AUTH=user:password, or listen on 127.0.0.1",
                       listen);
    auth->is_required = *setting != '\0';
    hash_of(setting, strlen(setting), auth->hash);
    return ERR_OK;
}

bool auth_admits(const struct auth *auth, const char *header)
{
    unsigned char given[CREDENTIALS_MAX + 1];
    unsigned char hash[AUTH_HASH_SIZE];
    size_t len = 0;

    if (!auth->is_required)
        return true;
    if (!header || strncasecmp(header, "Basic ", 6) != 0 ||
        sodium_base642bin(given, sizeof given, header + 6, strlen(header + 6), " ", &len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0)
        return false;
    hash_of((const char *)given, len, hash);
    sodium_memzero(given, sizeof given);
    return sodium_memcmp(hash, auth->hash, sizeof hash) == 0;
}
