/* SPDX-License-Identifier: MIT
 *
 * Structured logs; see log.h. Level and format are set once before threads start; the context is
 * thread-local, so there is no lock. A failing write never reaches the caller (a full disk must
 * not stop jobs); it is counted.
 */
#include "common/log.h"

#include <pthread.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log_gather.h"

enum { LOG_LINE_MAX = 16 * 1024, LOG_LINE_USUAL = 768 };

static struct {
    const char *program;
    enum log_level level;
    bool json;
} settings = {.program = "till", .level = LOG_INFO, .json = true};

static _Thread_local struct {
    const char *key;
    size_t key_len;
    bool is_number;
    char value[LOG_CONTEXT_VALUE_MAX + 1];
} context[LOG_CONTEXT_MAX];

/* Borrowed, and not cut: it would be JSON no more. */
static _Thread_local struct {
    const char *key;
    const char *json;
} context_json;

/* What follows the name of the event on each line, made once a process. */
static struct {
    char text[128];
    size_t len;
    char pid[16];
} fixed;
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static atomic_uint_fast64_t dropped;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static void make_fixed(void)
{
    (void)snprintf(fixed.pid, sizeof fixed.pid, "%d", (int)getpid());
    (void)snprintf(fixed.text, sizeof fixed.text, "\",\"program\":\"%s\",\"pid\":%s",
                   settings.program, fixed.pid);
    fixed.len = strlen(fixed.text);
}

static void prepare(void)
{
    make_fixed();
    (void)pthread_atfork(NULL, NULL, make_fixed);
}

void log_init(const char *program, enum log_level level, bool json)
{
    settings.program = program;
    settings.level = level;
    settings.json = json;
    (void)pthread_once(&prepared, prepare);
    make_fixed();
}

bool log_level_parse(const char *name, enum log_level *ret_level)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

static void set_context(const char *key, const char *value, bool is_number)
{
    int free_slot = -1;

    for (int i = 0; i < LOG_CONTEXT_MAX; i++) {
        if (context[i].key && (context[i].key == key || strcmp(context[i].key, key) == 0)) {
            free_slot = i;
            break;
        }
        if (!context[i].key && free_slot < 0)
            free_slot = i;
    }
    if (free_slot < 0)
        return;
    context[free_slot].key = value ? key : NULL;
    context[free_slot].key_len = strlen(key);
    context[free_slot].is_number = is_number;
    if (value) {
        size_t len = strnlen(value, sizeof context[0].value - 1);

        memcpy(context[free_slot].value, value, len);
        context[free_slot].value[len] = '\0';
    }
}

void log_context_set(const char *key, const char *value) { set_context(key, value, false); }

void log_context_set_int(const char *key, int64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRId64, value);
    set_context(key, text, true);
}

void log_context_set_json(const char *key, const char *json)
{
    context_json.key = key;
    context_json.json = json;
}

void log_context_clear(void)
{
    context_json.json = NULL;
    for (int i = 0; i < LOG_CONTEXT_MAX; i++)
        context[i].key = NULL;
}

uint64_t log_dropped(void) { return atomic_load(&dropped); }

/* Keys are names of ours. */
static void add_key(struct buf *line, const char *key, size_t len)
{
    size_t around = settings.json ? 2 : 1;
    char *at = buf_extend(line, around + len + around);

    if (!at)
        return;
    memcpy(at, settings.json ? ",\"" : " ", around);
    memcpy(at + around, key, len);
    memcpy(at + around + len, settings.json ? "\":" : "=", around);
}

static void add_string(struct buf *line, const char *key, size_t len, const char *value)
{
    add_key(line, key, len);
    buf_add_json(line, value);
}

static void add_json(struct buf *line, const char *key, size_t len, const char *json)
{
    if (!json)
        return;
    add_key(line, key, len);
    buf_add_str(line, json);
}

static void add_field(struct buf *line, const struct log_field *field)
{
    switch (field->type) {
    case LOG_FIELD_STR:
        if (field->str)
            add_string(line, field->key, field->key_len, field->str);
        break;
    case LOG_FIELD_JSON:
        add_json(line, field->key, field->key_len, field->str);
        break;
    case LOG_FIELD_INT:
        add_key(line, field->key, field->key_len);
        buf_add_int(line, field->num);
        break;
    case LOG_FIELD_BOOL:
        add_key(line, field->key, field->key_len);
        buf_add_str(line, field->num ? "true" : "false");
        break;
    }
}

static void add_head(struct buf *line, enum log_level level, const char *event)
{
    char now[CLOCK_TEXT_SIZE];

    clock_format(clock_wall_us(), now);
    if (!settings.json) {
        buf_addf(line, "%s %-5s %s[%s] %s", now, level_names[level], settings.program, fixed.pid,
                 event);
        return;
    }
    buf_add_str(line, "{\"time\":\"");
    buf_add_str(line, now);
    buf_add_str(line, "\",\"level\":\"");
    buf_add_str(line, level_names[level]);
    buf_add_str(line, "\",\"event\":\"");
    buf_add_str(line, event);
    buf_add(line, fixed.text, fixed.len);
}

static void make_line(struct buf *line, enum log_level level, const char *event, va_list args)
{
    const struct log_field *field;

    (void)pthread_once(&prepared, prepare); /* who has not called log_init() */
    add_head(line, level, event);
    for (int i = 0; i < LOG_CONTEXT_MAX; i++)
        if (context[i].key)
            (context[i].is_number ? add_json : add_string)(line, context[i].key, context[i].key_len,
                                                           context[i].value);
    if (context_json.json)
        add_json(line, context_json.key, strlen(context_json.key), context_json.json);
    while ((field = va_arg(args, const struct log_field *)) != NULL)
        add_field(line, field);
    if (line->overflow) { /* keep the line parsable and say what happened */
        buf_clear(line);
        add_head(line, level, event);
        add_string(line, "log", strlen("log"), "fields too long");
    }
    line->max = LOG_LINE_MAX + 4;
    buf_add_str(line, settings.json ? "}\n" : "\n");
}

void log_put(const char *text, size_t len)
{
    if (write(STDERR_FILENO, text, len) == (ssize_t)len)
        return;
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\n')
            atomic_fetch_add(&dropped, 1);
}

void log_write(enum log_level level, const char *event, ...)
{
    AUTO_VALUE(buf_release) struct buf line = {0};
    char space[LOG_LINE_USUAL];
    va_list args;

    if (level < settings.level)
        return;
    buf_init_in(&line, space, sizeof space, LOG_LINE_MAX);
    va_start(args, event);
    make_line(&line, level, event, args);
    va_end(args);
    log_put(line.data, line.len);
}

void log_write_soon(bool at_once, enum log_level level, const char *event, ...)
{
    AUTO_VALUE(buf_release) struct buf line = {0};
    char space[LOG_LINE_USUAL];
    va_list args;

    if (level < settings.level)
        return;
    buf_init_in(&line, space, sizeof space, LOG_LINE_MAX);
    va_start(args, event);
    make_line(&line, level, event, args);
    va_end(args);
    log_gather(line.data, line.len, at_once);
}
