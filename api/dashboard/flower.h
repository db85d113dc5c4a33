/* SPDX-License-Identifier: MIT
 *
 * What the files of Flower's HTTP API share: its way of answering. Refusals are plain text in its
 * own words, since scripts print them.
 */
#ifndef API_DASHBOARD_FLOWER_H
#define API_DASHBOARD_FLOWER_H

#include <stdbool.h>

#include "api/http.h"
#include "common/jobs_view.h"

/* Fills the reply; gives ERR_OK, for `return flower_refuse(...)`. */
enum err_code flower_refuse(struct reply *reply, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* 200 {"message": ...} */
enum err_code flower_message(struct reply *reply, struct err *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A parameter of the query or of a form in the body; mem_free() it. NULL: absent. */
char *flower_argument(const struct request *req, const char *name);

/* A parameter that has to be there: false when the reply says that it is not. */
bool flower_need(const struct request *req, struct reply *reply, const char *name,
                 char **ret_value);

/* A parameter as Python's strtobool() reads it; absent, it stays as it is. False: the reply says
 * what is wrong. */
bool flower_bool(const struct request *req, struct reply *reply, const char *name, bool *value);

/* A redacted value (NULL: absent, or too long) as JSON text: what Flower shows as Python's repr().
 * A new value. */
json_t *flower_value_text(const json_t *value, int64_t bytes);

/* The tasks of a page in Flower's shape and in the page's order, by id, with tracebacks, origin and
 * copies. */
enum err_code flower_tasks_json(struct db *db, const struct jobs_page *page, json_t **ret_map,
                                struct err *e) MUST_CHECK;

/* A time as Flower's scripts write it, "2026-11-21 20:00:00.0", or RFC 3339; UTC without a zone. */
bool flower_time(const char *text, int64_t *ret_us);

#endif
