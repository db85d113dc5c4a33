/* SPDX-License-Identifier: MIT
 *
 * Rules for the values of settings that a type and a range cannot say; see conf_check() in conf.h.
 */
#include <string.h>
#include <strings.h>

#include "common/auto.h"
#include "common/conf.h"
#include "common/queue_list.h"

static bool is_placeholder(const char *secret)
{
    static const char *const known[] = {"changeme", "change-me", "secret", "password", "xxx"};

    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (strcasecmp(secret, known[i]) == 0)
            return true;
    return false;
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
    if (program == PROGRAM_API &&
        (strlen(conf->jwt_secret) < 32 || is_placeholder(conf->jwt_secret)))
        return err_set(
            e, ERR_INVALID,
            "JWT_SECRET is shorter than 32 bytes: make one with \"openssl rand -hex 32\"");
    if (program == PROGRAM_WORKER && is_placeholder(conf->gateway_secret_key))
        return err_set(e, ERR_INVALID, "GATEWAY_SECRET_KEY is a placeholder");
    if (program == PROGRAM_WORKER && queue_list_parse(conf->queues, &queues, &why))
        return err_set(e, ERR_INVALID, "TILL_QUEUES: %.150s", why.text);
    queue_list_release(&queues);
    if (program == PROGRAM_DASHBOARD && *conf->dashboard_auth && !strchr(conf->dashboard_auth, ':'))
        return err_set(e, ERR_INVALID, "TILL_DASHBOARD_AUTH is not of the form user:password");
    return ERR_OK;
}
