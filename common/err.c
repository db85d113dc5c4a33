/* SPDX-License-Identifier: MIT
 *
 * Error codes and texts; see err.h.
 */
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/auto.h"

static const char *const names[] = {
#define X(name, text) text,
    ERR_CODES(X)
#undef X
};

static void record(struct err *e, enum err_code code, const char *detail, const char *format,
                   va_list args) __attribute__((format(printf, 4, 0)));

static void record(struct err *e, enum err_code code, const char *detail, const char *format,
                   va_list args)
{
    if (!e || e->code != ERR_OK)
        return;
    e->code = code;
    /* Truncated texts are fine here: they are for people. */
    (void)vsnprintf(e->text, sizeof e->text, format, args);
    (void)snprintf(e->detail, sizeof e->detail, "%s", detail ? detail : "");
    for (char *p = e->detail; *p; p++)
        if (*p == '\n')
            *p = ' ';
}

enum err_code err_set(struct err *e, enum err_code code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    record(e, code, NULL, format, args);
    va_end(args);
    return code;
}

enum err_code err_set_detail(struct err *e, enum err_code code, const char *detail,
                             const char *format, ...)
{
    va_list args;

    va_start(args, format);
    record(e, code, detail, format, args);
    va_end(args);
    return code;
}

void err_clear(struct err *e)
{
    e->code = ERR_OK;
    e->text[0] = '\0';
    e->detail[0] = '\0';
}

const char *err_name(enum err_code code)
{
    return (size_t)code < COUNT_OF(names) ? names[code] : "unknown";
}

bool err_is_transient(enum err_code code) { return code == ERR_UNAVAILABLE || code == ERR_TIMEOUT; }
