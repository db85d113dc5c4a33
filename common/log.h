/* SPDX-License-Identifier: MIT
 *
 * Structured logs: one line an event to stderr, JSON or text, written by one write(2) (or a few of
 * them by one: log_gather.h).
 *
 *   log_info("job_done", L_STR("job_id", id), L_INT("attempt", n));
 *
 * An event is a name in snake_case, never a sentence; facts are typed fields. No payloads, no
 * secrets, no card numbers. What a thread is working on (request, job, worker) is set once by
 * log_context_set() and stands on each of its lines.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_field_type { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_BOOL, LOG_FIELD_JSON };

struct log_field {
    enum log_field_type type;
    const char *key;
    size_t key_len;
    const char *str; /* NULL is written as null */
    int64_t num;
};

/* A literal's length is known when this is compiled. */
#define L_KEY(k) (k), __builtin_strlen(k)
#define L_STR(k, v) (&(const struct log_field){LOG_FIELD_STR, L_KEY(k), (v), 0})
#define L_INT(k, v) (&(const struct log_field){LOG_FIELD_INT, L_KEY(k), NULL, (int64_t)(v)})
/* A value that is JSON already, such as an object; NULL is left out. */
#define L_JSON(k, v) (&(const struct log_field){LOG_FIELD_JSON, L_KEY(k), (v), 0})
#define L_BOOL(k, v) (&(const struct log_field){LOG_FIELD_BOOL, L_KEY(k), NULL, (v)})
/* Three fields: error code, error text, driver detail. */
#define L_ERR(e)                                                                                   \
    L_STR("error", (e)->text), L_STR("code", err_name((e)->code)),                                 \
        L_STR("detail", (e)->detail[0] ? (e)->detail : NULL)

#define L_END ((const struct log_field *)0)

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__, L_END)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__, L_END)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__, L_END)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__, L_END)

/* Fields with a NULL string are left out unless they came by L_STR in the call itself. */
void log_write(enum log_level level, const char *event, ...);
/* The same for lines that may be a moment late, unless it is said to be `at_once`: log_gather.h. */
void log_write_soon(bool at_once, enum log_level level, const char *event, ...);
#define log_info_soon(at_once, ...) log_write_soon(at_once, LOG_INFO, __VA_ARGS__, L_END)

/* `program` stands on every line. `json` false gives readable text. */
void log_init(const char *program, enum log_level level, bool json);
bool log_level_parse(const char *name, enum log_level *ret_level);

/* Per thread. At most LOG_CONTEXT_MAX keys; the key is kept by reference, the value is copied (and
 * cut at LOG_CONTEXT_VALUE_MAX bytes, more than a name has). A NULL value removes the key. */
enum { LOG_CONTEXT_MAX = 8, LOG_CONTEXT_VALUE_MAX = 207 };
void log_context_set(const char *key, const char *value);
void log_context_set_int(const char *key, int64_t value);
/* One value that is JSON, kept by reference as its key is: until it is set to NULL. */
void log_context_set_json(const char *key, const char *json);
void log_context_clear(void);

/* Lines that could not be written (disk full, closed pipe) since the start. */
uint64_t log_dropped(void);

#endif
