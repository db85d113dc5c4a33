/* SPDX-License-Identifier: MIT
 *
 * Which gateway, and whether it may be used: settings are judged here before anything connects.
 * Owns nothing, opens nothing.
 */
#include "worker/gateway.h"

#include <arpa/inet.h>
#include <string.h>

#include <curl/curl.h>

#include "worker/authorities.h"

struct gateway_place gateway_place_of(const struct conf *conf)
{
    return (struct gateway_place){.url = conf->gateway_url,
                                  .ca_file = conf->gateway_ca_file,
                                  .secret_key = conf->gateway_secret_key};
}

static bool is_this_machine(const char *host)
{
    struct in_addr address;

    if (inet_pton(AF_INET, host, &address) == 1)
        return ntohl(address.s_addr) >> 24 == 127;
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

/* What is wrong with a GATEWAY_URL, or NULL. */
static const char *url_problem(const char *url)
{
    CURLU *parts = curl_url();
    char *scheme = NULL;
    char *host = NULL;
    const char *problem = NULL;

    if (!parts || curl_url_set(parts, CURLUPART_URL, url, 0) ||
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(parts, CURLUPART_HOST, &host, 0) ||
        (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0))
        problem = "GATEWAY_URL is not https://host or https://host:port";
    else if (strcmp(scheme, "http") == 0 && !is_this_machine(host))
        problem = "GATEWAY_URL would send GATEWAY_SECRET_KEY and charges in clear: write https:// "
                  "(http:// is for a gateway on this machine)";
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(parts);
    return problem;
}

enum err_code gateway_check(const struct gateway_place *place, struct err *e)
{
    const char *problem = url_problem(place->url);

    if (problem)
        return err_set(e, ERR_INVALID, "%s", problem);
    return authorities_check("GATEWAY_CA_FILE", place->ca_file, e);
}
