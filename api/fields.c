/* SPDX-License-Identifier: MIT
 *
 * Validation of bodies; see fields.h. Pure: nothing here asks the database.
 */
#include "api/fields.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/money.h"
#include "common/text.h"

enum { MESSAGE_SIZE = 400, SHOWN_MAX = 200 };

const char *fields_type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "dict";
    case JSON_ARRAY:
        return "list";
    case JSON_STRING:
        return "str";
    case JSON_INTEGER:
        return "int";
    case JSON_REAL:
        return "float";
    case JSON_TRUE:
    case JSON_FALSE:
        return "bool";
    case JSON_NULL:
        break;
    }
    return "NoneType";
}

void fields_begin_nested(struct fields *f, const json_t *object)
{
    *f = (struct fields){.data = object, .errors = json_object(), .texts = json_array()};
}

bool fields_check_object(const json_t *data, struct reply *reply)
{
    AUTO_VALUE(fields_release) struct fields f = {0};

    if (!data || json_is_object(data))
        return true;
    fields_begin_nested(&f, NULL);
    if (json_is_null(data))
        fields_error(&f, "non_field_errors", "No data provided");
    else
        fields_error(&f, "non_field_errors", "Invalid data. Expected a dictionary, but got %s.",
                     fields_type_name(data));
    (void)fields_end(&f, reply);
    return false;
}

bool fields_begin(struct fields *f, const json_t *data, struct reply *reply)
{
    bool is_object = fields_check_object(data, reply);

    fields_begin_nested(f, is_object ? data : NULL);
    return is_object;
}

void fields_release(struct fields *f)
{
    json_decref(f->errors);
    json_decref(f->texts);
    *f = (struct fields){0};
}

static void note(struct fields *f, const char *name, const char *message)
{
    json_t *list = json_object_get(f->errors, name);

    if (!list) {
        list = json_array();
        (void)json_object_set_new(f->errors, name, list);
    }
    (void)json_array_append_new(list, json_string(message));
}

void fields_error(struct fields *f, const char *name, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    note(f, name, message);
}

void fields_error_no_object(struct fields *f, const char *name, int64_t id)
{
    fields_error(f, name, "Invalid pk \"%" PRId64 "\" - object does not exist.", id);
}

static bool is_known(const struct fields *f, const char *name)
{
    for (size_t i = 0; i < f->known_count; i++)
        if (strcmp(f->known[i], name) == 0)
            return true;
    return false;
}

static const json_t *look(struct fields *f, const char *name)
{
    if (f->known_count < FIELDS_MAX && !is_known(f, name))
        f->known[f->known_count++] = name;
    return json_object_get(f->data, name);
}

bool fields_is_given(struct fields *f, const char *name) { return look(f, name) != NULL; }

static bool is_empty_text(const json_t *value)
{
    return json_is_string(value) && json_string_length(value) == 0;
}

bool fields_is_null(struct fields *f, const char *name)
{
    const json_t *value = look(f, name);

    return json_is_null(value) || is_empty_text(value);
}

/* The value of a field that is present and not null; else what is wrong is noted. */
static const json_t *take(struct fields *f, const char *name, unsigned rules)
{
    const json_t *value = look(f, name);

    if (!value) {
        if (!(rules & FIELD_OPTIONAL))
            fields_error(f, name, "This field is required.");
        return NULL;
    }
    if (json_is_null(value)) {
        fields_error(f, name, "This field may not be null.");
        return NULL;
    }
    return value;
}

/* A copy that lives as long as `f`, without the blanks around it unless the rules keep them. */
static const char *keep(struct fields *f, const char *text, unsigned rules)
{
    size_t len = strlen(text);
    json_t *copy;

    if (!(rules & FIELD_RAW))
        text_trim(&text, &len);
    copy = json_stringn(text, len);
    (void)json_array_append_new(f->texts, copy);
    return json_string_value(copy);
}

const char *fields_text(struct fields *f, const char *name, size_t max, unsigned rules)
{
    const json_t *value = take(f, name, rules);
    char number[24];
    const char *text;

    if (!value)
        return NULL;
    if (json_is_integer(value)) {
        (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        text = keep(f, number, rules);
    } else if (json_is_string(value)) {
        text = keep(f, json_string_value(value), rules);
    } else {
        fields_error(f, name, "Not a valid string.");
        return NULL;
    }
    if (!*text && !(rules & FIELD_BLANK)) {
        fields_error(f, name, "This field may not be blank.");
        return NULL;
    }
    if (text_count_chars(text) > max) {
        fields_error(f, name, "Ensure this field has no more than %zu characters.", max);
        return NULL;
    }
    return text;
}

const char *fields_email(struct fields *f, const char *name, unsigned rules)
{
    const json_t *value = look(f, name);
    const char *text;

    /* Whatever is no text is no address, either: one text for both, as there. */
    if (value && !json_is_null(value) && !json_is_string(value) && !json_is_integer(value)) {
        fields_error(f, name, "Enter a valid email address.");
        return NULL;
    }
    text = fields_text(f, name, 254, rules);
    if (text && *text && !text_is_email(text)) {
        fields_error(f, name, "Enter a valid email address.");
        return NULL;
    }
    return text;
}

const char *fields_choice(struct fields *f, const char *name, const char *const *choices)
{
    const json_t *value = take(f, name, 0);
    AUTO(mem_free) char *shown = NULL;

    if (!value)
        return NULL;
    for (; *choices; choices++)
        if (json_is_string(value) && strcmp(json_string_value(value), *choices) == 0)
            return *choices;
    shown = json_is_string(value) ? mem_dup(json_string_value(value)) : json_write(value);
    shown = shown ? shown : mem_dup("");
    fields_error(f, name, "\"%.*s\" is not a valid choice.", (int)text_whole_span(shown, SHOWN_MAX),
                 shown);
    return NULL;
}

/* An integer, or a text of one, as forms have it. */
static bool to_int(struct fields *f, const json_t *value, int64_t *ret)
{
    const char *text;

    if (json_is_integer(value)) {
        *ret = json_integer_value(value);
        return true;
    }
    if (!json_is_string(value))
        return false;
    text = keep(f, json_string_value(value), 0);
    if (*text == '+' && text[1] >= '0' && text[1] <= '9')
        text++;
    return text_to_int(text, INT64_MIN, INT64_MAX, ret);
}

/* Also 2.0 and "2.0", as Django REST framework has it: clients that divide send such numbers. */
static bool to_whole(struct fields *f, const json_t *value, int64_t *ret)
{
    enum { EXACT_MAX = 1000 * 1000 * 1000 };
    double real = json_real_value(value);
    const char *text;
    const char *point;
    json_t *whole;

    if (json_is_real(value)) {
        if (real < -EXACT_MAX || real > EXACT_MAX || real != (double)(int64_t)real)
            return false;
        *ret = (int64_t)real;
        return true;
    }
    text = json_is_string(value) ? keep(f, json_string_value(value), 0) : NULL;
    point = text ? strchr(text, '.') : NULL;
    if (!point || point[1 + strspn(point + 1, "0")])
        return to_int(f, value, ret);
    whole = json_stringn(text, (size_t)(point - text));
    (void)json_array_append_new(f->texts, whole);
    return to_int(f, whole, ret);
}

bool fields_int(struct fields *f, const char *name, int64_t min, int64_t max, int64_t *ret_value)
{
    const json_t *value = take(f, name, 0);
    int64_t number;

    if (!value)
        return false;
    if (!to_whole(f, value, &number))
        fields_error(f, name, "A valid integer is required.");
    else if (number < min)
        fields_error(f, name, "Ensure this value is greater than or equal to %" PRId64 ".", min);
    else if (number > max)
        fields_error(f, name, "Ensure this value is less than or equal to %" PRId64 ".", max);
    else {
        *ret_value = number;
        return true;
    }
    return false;
}

/* ---- decimals ---- */

/* The parts of "-12.50". Whole digits are counted without leading zeros. */
struct decimal {
    const char *whole;
    const char *places;
    size_t whole_len;
    size_t places_len;
    bool is_negative;
};

static bool split_decimal(const char *text, struct decimal *ret)
{
    static const char digits[] = "0123456789";
    struct decimal d = {.is_negative = *text == '-'};
    size_t all;

    text += *text == '-' || *text == '+';
    all = strspn(text, digits);
    d.whole = text + strspn(text, "0");
    d.whole_len = strspn(d.whole, digits);
    text += all;
    if (*text == '.') {
        d.places = ++text;
        d.places_len = strspn(text, digits);
        text += d.places_len;
    }
    *ret = d;
    return !*text && all + d.places_len > 0;
}

enum { DECIMAL_WHOLE_MAX = 10, DECIMAL_PLACES_MAX = 2 }; /* numeric(12,2) */

/* In the one form that the rest of the tree writes: "0.50". */
static const char *keep_plain(struct fields *f, const struct decimal *d)
{
    static const char *const zeros[] = {"00", "0", ""};
    AUTO_VALUE(buf_release) struct buf plain;

    buf_init(&plain, 32);
    buf_addf(&plain, "%s%s%.*s.%.*s%s", d->is_negative ? "-" : "", d->whole_len ? "" : "0",
             (int)d->whole_len, d->whole, (int)d->places_len, d->places ? d->places : "",
             zeros[d->places_len]);
    return keep(f, plain.data, 0);
}

/* NULL when something is noted. */
static const char *keep_decimal(struct fields *f, const char *name, const char *text)
{
    struct decimal d;

    if (!split_decimal(text, &d))
        fields_error(f, name, "A valid number is required.");
    else if (d.whole_len + d.places_len > DECIMAL_WHOLE_MAX + DECIMAL_PLACES_MAX)
        fields_error(f, name, "Ensure that there are no more than %d digits in total.",
                     DECIMAL_WHOLE_MAX + DECIMAL_PLACES_MAX);
    else if (d.places_len > DECIMAL_PLACES_MAX)
        fields_error(f, name, "Ensure that there are no more than %d decimal places.",
                     DECIMAL_PLACES_MAX);
    else if (d.whole_len > DECIMAL_WHOLE_MAX)
        fields_error(f, name,
                     "Ensure that there are no more than %d digits before the decimal point.",
                     DECIMAL_WHOLE_MAX);
    else
        return keep_plain(f, &d);
    return NULL;
}

static const char *check_range(struct fields *f, const char *name, const char *text, int64_t min,
                               int64_t max)
{
    int64_t value = 0;

    if (!money_parse(text, &value))
        fields_error(f, name, "A valid number is required.");
    else if (value < min)
        fields_error(f, name, "Ensure this value is greater than or equal to %" PRId64 ".",
                     min / 100);
    else if (value > max)
        fields_error(f, name, "Ensure this value is less than or equal to %" PRId64 ".", max / 100);
    else
        return text;
    return NULL;
}

const char *fields_decimal(struct fields *f, const char *name, int64_t min, int64_t max)
{
    const json_t *value = take(f, name, 0);
    char number[24];
    const char *text = NULL;

    if (!value)
        return NULL;
    if (json_is_string(value)) {
        text = keep(f, json_string_value(value), 0);
    } else if (json_is_integer(value)) {
        (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        text = number;
    } else if (json_is_real(value)) {
        fields_error(f, name, "Send a decimal as a string, such as \"12.50\".");
        return NULL;
    }
    text = keep_decimal(f, name, text ? text : "");
    return text ? check_range(f, name, text, min, max) : NULL;
}

bool fields_id(struct fields *f, const char *name, int64_t *ret_id)
{
    const json_t *value = take(f, name, 0);

    if (!value)
        return false;
    if (is_empty_text(value)) { /* what forms have in place of null */
        fields_error(f, name, "This field may not be null.");
        return false;
    }
    if (to_int(f, value, ret_id)) {
        if (*ret_id > 0)
            return true;
        fields_error_no_object(f, name, *ret_id);
        return false;
    }
    fields_error(f, name, "Incorrect type. Expected pk value, received %s.",
                 fields_type_name(value));
    return false;
}

void fields_refuse_unknown(struct fields *f)
{
    for (void *at = json_object_iter((json_t *)(uintptr_t)f->data); at;
         at = json_object_iter_next((json_t *)(uintptr_t)f->data, at)) {
        const char *name = json_object_iter_key(at);

        if (!is_known(f, name) && !json_object_get(f->errors, name))
            fields_error(f, name, "This field is not known.");
    }
}

bool fields_are_good(const struct fields *f) { return json_object_size(f->errors) == 0; }

bool fields_end(struct fields *f, struct reply *reply)
{
    struct err e = {0};

    if (f->data)
        fields_refuse_unknown(f);
    if (fields_are_good(f))
        return true;
    if (reply_json(reply, 400, json_incref(f->errors), &e))
        reply_detail(reply, 400, "The request is not valid.");
    return false;
}

void fields_reply_error(struct reply *reply, const char *name, const char *text)
{
    reply_bytes(reply, 400, "application/json", "{", 1);
    buf_add_json(&reply->body, name);
    buf_add_str(&reply->body, ":[");
    buf_add_json(&reply->body, text);
    buf_add_str(&reply->body, "]}");
}
