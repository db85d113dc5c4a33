/* SPDX-License-Identifier: MIT
 *
 * Flower's way of reading parameters and of answering; see flower.h. Owns nothing.
 */
#include "api/dashboard/flower.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/mem.h"

enum { TEXT_MAX = 1024 };

enum err_code flower_refuse(struct reply *reply, int status, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    reply_bytes(reply, status, "text/plain; charset=utf-8", text, strlen(text));
    return ERR_OK;
}

enum err_code flower_message(struct reply *reply, struct err *e, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return reply_json(reply, 200, json_pack("{s:s}", "message", text), e);
}

char *flower_argument(const struct request *req, const char *name)
{
    char *value = NULL;

    if (request_has_type(req, "application/x-www-form-urlencoded"))
        value = form_value(req->body, name);
    return value ? value : request_query(req, name);
}

bool flower_need(const struct request *req, struct reply *reply, const char *name, char **ret_value)
{
    char *value = flower_argument(req, name);

    if (!value || !*value) {
        mem_free(value);
        (void)flower_refuse(reply, 400, "Missing argument %s", name);
        return false;
    }
    *ret_value = value;
    return true;
}

bool flower_bool(const struct request *req, struct reply *reply, const char *name, bool *value)
{
    static const char *const yes[] = {"y", "yes", "t", "true", "on", "1"};
    static const char *const no[] = {"n", "no", "f", "false", "off", "0", ""};
    AUTO(mem_free) char *text = flower_argument(req, name);

    if (!text)
        return true;
    for (size_t i = 0; i < COUNT_OF(yes); i++)
        if (strcasecmp(text, yes[i]) == 0)
            return *value = true;
    for (size_t i = 0; i < COUNT_OF(no); i++)
        if (strcasecmp(text, no[i]) == 0) {
            *value = false;
            return true;
        }
    (void)flower_refuse(reply, 400, "Invalid argument '%.80s' of type 'bool'", text);
    return false;
}

bool flower_time(const char *text, int64_t *ret_us)
{
    char whole[CLOCK_TEXT_SIZE + 8];

    if (clock_parse(text, ret_us))
        return true;
    if (strlen(text) == 16 && text_format(whole, sizeof whole, "%s:00Z", text))
        return clock_parse(whole, ret_us);
    return text_format(whole, sizeof whole, "%sZ", text) && clock_parse(whole, ret_us);
}
