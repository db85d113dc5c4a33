/* SPDX-License-Identifier: MIT
 *
 * The fields of a request's body, read one by one with the rules and texts of Django REST
 * framework. Each fields_...() notes what is wrong with its field and goes on, so that a client
 * learns of all faults at once; fields_end() makes the 400 of them and refuses fields that nobody
 * asked for.
 *
 *   AUTO_VALUE(fields_release) struct fields f = {0};
 *   if (!fields_begin(&f, req->data, reply))
 *       return ERR_OK;
 *   name = fields_text(&f, "name", 255, 0);
 *   if (!fields_end(&f, reply, e)) return ...
 */
#ifndef API_FIELDS_H
#define API_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "api/http.h"
#include "common/err.h"

enum { FIELDS_MAX = 16 };

struct fields {
    const json_t *data; /* borrowed: the object */
    json_t *errors;     /* owned: {"field": ["text"]} */
    json_t *texts;      /* owned: what fields_text() gave out */
    const char *known[FIELDS_MAX];
    size_t known_count;
};

enum field_rule {
    FIELD_OPTIONAL = 1 << 0, /* may be absent */
    FIELD_BLANK = 1 << 1,    /* may be "" */
    FIELD_RAW = 1 << 2,      /* blanks around it belong to it: passwords */
};

/* False: the reply is the 400 that says that the body is no object. `data` NULL is an empty one. */
bool fields_begin(struct fields *f, const json_t *data, struct reply *reply);
/* For objects within the body, which have their own place for errors. */
void fields_begin_nested(struct fields *f, const json_t *object);
void fields_release(struct fields *f);
/* Whether it is one. False: the reply is the 400 that says so. */
bool fields_check_object(const json_t *data, struct reply *reply);

/* Whether a field was sent, and whether it is null (or "", which forms have in place of it; for ids
 * alone). One that is only asked for here is known. */
bool fields_is_given(struct fields *f, const char *name);
bool fields_is_null(struct fields *f, const char *name);

/* Borrowed from `f`; NULL when absent or wrong. `max` in characters. */
const char *fields_text(struct fields *f, const char *name, size_t max, unsigned rules);
/* As above, an e-mail address. */
const char *fields_email(struct fields *f, const char *name, unsigned rules);
/* `choices` ends with NULL. */
const char *fields_choice(struct fields *f, const char *name, const char *const *choices);
bool fields_int(struct fields *f, const char *name, int64_t min, int64_t max, int64_t *ret_value);
/* A decimal of at most two places within [min, max] hundredths, as a text that money_parse() reads;
 * NULL when absent or wrong. Never a JSON real: its digits are not those that were sent. */
const char *fields_decimal(struct fields *f, const char *name, int64_t min, int64_t max);
/* The id of another object. False, and no such object, for numbers that cannot be one. */
bool fields_id(struct fields *f, const char *name, int64_t *ret_id);

void fields_error(struct fields *f, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void fields_error_no_object(struct fields *f, const char *name, int64_t id);

/* Notes every member of the body that no call above has asked for. */
void fields_refuse_unknown(struct fields *f);
bool fields_are_good(const struct fields *f);

/* fields_refuse_unknown() and, if anything is wrong, the 400. False: the reply is filled. */
bool fields_end(struct fields *f, struct reply *reply);

/* Name of a JSON type as Python has it: "str", "int", "list", "dict", ... */
const char *fields_type_name(const json_t *value);

/* {"name": ["text"]} as a whole reply of 400. */
void fields_reply_error(struct reply *reply, const char *name, const char *text);

#endif
