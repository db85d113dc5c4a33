/* SPDX-License-Identifier: MIT
 *
 * What "this machine only" means: addresses to listen on, names that a request may ask for; see
 * auth.h. Pure.
 */
#include <string.h>
#include <strings.h>

#include <arpa/inet.h>

#include "api/dashboard/auth.h"

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
