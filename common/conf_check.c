/* SPDX-License-Identifier: MIT
 *
 * Rules for the values of settings that a type and a range cannot say; see conf_check() in conf.h.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <arpa/inet.h>

#include "common/auto.h"
#include "common/conf.h"
#include "common/queue_list.h"
#include "common/text.h"

enum { WORKER_BYTES_MIN = 16 * 1024 * 1024, PLACE_SIZE = 300 };

static bool is_placeholder(const char *secret)
{
    static const char *const known[] = {"changeme", "change-me", "secret", "password", "xxx"};

    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (strcasecmp(secret, known[i]) == 0)
            return true;
    return false;
}

static enum err_code check_worker(const struct conf *conf, struct err *e)
{
    if (conf->worker_autoscale_max && conf->worker_autoscale_min > conf->worker_autoscale_max)
        return err_set(e, ERR_INVALID,
                       "TILL_WORKER_AUTOSCALE_MIN=\"%lld\" is more than"
                       " TILL_WORKER_AUTOSCALE_MAX=\"%lld\"",
                       (long long)conf->worker_autoscale_min,
                       (long long)conf->worker_autoscale_max);
    if (conf->worker_max_bytes && conf->worker_max_bytes < WORKER_BYTES_MIN)
        return err_set(e, ERR_INVALID,
                       "TILL_WORKER_MAX_BYTES=\"%lld\" is less than %d, which a process takes by"
                       " itself",
                       (long long)conf->worker_max_bytes, WORKER_BYTES_MIN);
    return ERR_OK;
}

static bool is_host(const char *host)
{
    struct in_addr address;

    if (host[strspn(host, "0123456789.")] == '\0')
        return inet_pton(AF_INET, host, &address) == 1;
    for (const char *p = host; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '.')
            return false;
    return true;
}

/* HOST:PORT, or a port alone, which is every address. */
static bool is_place(const char *text, size_t len)
{
    char place[PLACE_SIZE];
    int64_t port;
    char *colon;

    if (len >= sizeof place)
        return false;
    memcpy(place, text, len);
    place[len] = '\0';
    colon = strrchr(place, ':');
    if (colon)
        *colon = '\0';
    return (!colon || is_host(place)) && text_to_int(colon ? colon + 1 : place, 0, 65535, &port);
}

/* What civetweb cannot read is found before the start. Several may stand there, with commas. */
static enum err_code check_listen(const char *name, const char *value, struct err *e)
{
    for (const char *p = value;; p++) {
        size_t len = strcspn(p, ",");

        if (!is_place(p, len))
            return err_set(e, ERR_INVALID,
                           "%s=\"%.60s\" is no address and port, such as 127.0.0.1:8000", name,
                           value);
        p += len;
        if (!*p)
            return ERR_OK;
    }
}

static bool is_weak_key(const char *key) { return strlen(key) < 32 || is_placeholder(key); }

static enum err_code check_keys(const struct conf *conf, struct err *e)
{
    bool is_weak = is_weak_key(conf->jwt_secret);

    if (is_weak || (*conf->jwt_secret_previous && is_weak_key(conf->jwt_secret_previous)))
        return err_set(e, ERR_INVALID,
                       "%s is shorter than 32 bytes: make one with \"openssl rand -hex 32\"",
                       is_weak ? "JWT_SECRET" : "JWT_SECRET_PREVIOUS");
    return ERR_OK;
}

enum err_code conf_check(const struct conf *conf, enum program program, struct err *e)
{
    struct queue_list queues = {0};
    struct err why = {0};
    enum log_level level;

    if (!log_level_parse(conf->log_level, &level))
        return err_set(e, ERR_INVALID, "LOG_LEVEL=\"%.20s\" is not debug, info, warn or error",
                       conf->log_level);
    if (strcmp(conf->log_format, "json") != 0 && strcmp(conf->log_format, "text") != 0)
        return err_set(e, ERR_INVALID, "LOG_FORMAT=\"%.20s\" is not json or text",
                       conf->log_format);
    if (program == PROGRAM_API && check_keys(conf, e))
        return ERR_INVALID;
    if (program == PROGRAM_WORKER && is_placeholder(conf->gateway_secret_key))
        return err_set(e, ERR_INVALID, "GATEWAY_SECRET_KEY is a placeholder");
    if (program == PROGRAM_WORKER && queue_list_parse(conf->queues, &queues, &why))
        return err_set(e, ERR_INVALID, "TILL_QUEUES: %.150s", why.text);
    queue_list_release(&queues);
    if (program == PROGRAM_WORKER && check_worker(conf, e))
        return ERR_INVALID;
    if (program == PROGRAM_API && check_listen("TILL_API_LISTEN", conf->api_listen, e))
        return ERR_INVALID;
    if (program == PROGRAM_DASHBOARD &&
        check_listen("TILL_DASHBOARD_LISTEN", conf->dashboard_listen, e))
        return ERR_INVALID;
    if (program == PROGRAM_DASHBOARD && *conf->dashboard_auth && !strchr(conf->dashboard_auth, ':'))
        return err_set(e, ERR_INVALID, "TILL_DASHBOARD_AUTH is not of the form user:password");
    return ERR_OK;
}
