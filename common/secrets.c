/* SPDX-License-Identifier: MIT
 *
 * Names and values that are secret in one job; see secrets.h. Values are matched byte by byte, the
 * longest first, so that one that contains another is hidden as a whole.
 */
#include "common/secrets.h"

#include <ctype.h>
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/redact.h"

enum { NAMES_TEXT_MAX = 64 * 1024, ALONE_MAX = 3, ESCAPED_MAX = 2 * 1024 * 1024 };

static void free_all(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mem_wipe_free(texts[i]);
    mem_free(texts);
}

void secrets_release(struct secrets *secrets)
{
    free_all(secrets->names, secrets->name_count);
    free_all(secrets->values, secrets->value_count);
    *secrets = (struct secrets){0};
}

/* ---- names ---- */

void secrets_declare_one(struct secrets *secrets, const char *name)
{
    if (!name || !*name)
        return;
    if (!secrets->names)
        secrets->names = mem_array(SECRETS_NAMES_MAX, sizeof *secrets->names);
    if (secrets->name_count < SECRETS_NAMES_MAX)
        secrets->names[secrets->name_count++] = mem_dup(name);
}

void secrets_declare(struct secrets *secrets, const char *names)
{
    AUTO(json_decref) json_t *list = NULL;

    if (!names || json_read(names, strlen(names), NAMES_TEXT_MAX, &list, NULL))
        return;
    for (size_t i = 0; i < json_array_size(list); i++)
        secrets_declare_one(secrets, json_string_value(json_array_get(list, i)));
}

bool secrets_has_name(const struct secrets *secrets, const char *name)
{
    for (size_t i = 0; secrets && i < secrets->name_count; i++)
        if (strcasecmp(secrets->names[i], name) == 0)
            return true;
    return false;
}

bool secrets_has_place(const struct secrets *secrets, size_t place)
{
    char name[24];

    (void)snprintf(name, sizeof name, "%zu", place);
    return secrets_has_name(secrets, name);
}

/* ---- values ---- */

static bool has_value(const struct secrets *secrets, const char *value)
{
    for (size_t i = 0; i < secrets->value_count; i++)
        if (strcmp(secrets->values[i], value) == 0)
            return true;
    return false;
}

static void add_value(struct secrets *secrets, const char *value, size_t min)
{
    size_t at;

    if (strlen(value) < min || has_value(secrets, value))
        return;
    if (secrets->value_count == SECRETS_VALUES_MAX) {
        secrets->is_full = true;
        return;
    }
    if (!secrets->values)
        secrets->values = mem_array(SECRETS_VALUES_MAX, sizeof *secrets->values);
    for (at = secrets->value_count++; at > 0 && strlen(secrets->values[at - 1]) < strlen(value);
         at--)
        secrets->values[at] = secrets->values[at - 1];
    secrets->values[at] = mem_dup(value);
}

/* As it looks in a JSON text, without the quotes. */
static void add_escaped(struct secrets *secrets, const char *value, size_t min)
{
    AUTO_VALUE(buf_release) struct buf json;

    buf_init(&json, ESCAPED_MAX);
    buf_add_json(&json, value);
    if (json.len < 2)
        return;
    json.data[json.len - 1] = '\0';
    add_value(secrets, json.data + 1, min);
}

static void add_percent(struct secrets *secrets, const char *value, size_t min)
{
    AUTO_VALUE(buf_release) struct buf url;

    buf_init(&url, ESCAPED_MAX);
    for (const char *p = value; *p; p++) {
        if (isalnum((unsigned char)*p) || strchr("-._~", *p))
            buf_add_char(&url, *p);
        else
            buf_addf(&url, "%%%02X", (unsigned)(unsigned char)*p);
    }
    add_value(secrets, url.data, min);
}

static void add_text(struct secrets *secrets, const char *value, size_t min)
{
    add_value(secrets, value, min);
    if (strlen(value) >= min && strpbrk(value, "\"\\\n\r\t/"))
        add_escaped(secrets, value, min);
    if (strlen(value) >= min && strcspn(value, " !\"#$%&'()*+,/:;=?@[]\n") < strlen(value))
        add_percent(secrets, value, min);
}

/* Everything below a secret name is secret. */
static void add_leaves(struct secrets *secrets, const json_t *value, size_t min)
{
    const char *key;
    json_t *member;
    char number[64];

    if (json_is_string(value))
        add_text(secrets, json_string_value(value), min);
    if (json_is_integer(value) &&
        text_format(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value)))
        add_value(secrets, number, min);
    if (json_is_real(value) && text_format(number, sizeof number, "%.17g", json_real_value(value)))
        add_value(secrets, number, min);
    for (size_t i = 0; i < json_array_size(value); i++)
        add_leaves(secrets, json_array_get(value, i), min);
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        add_leaves(secrets, member, min);
    }
}

static void collect(struct secrets *secrets, const json_t *value)
{
    const char *key;
    json_t *member;

    for (size_t i = 0; i < json_array_size(value); i++)
        collect(secrets, json_array_get(value, i));
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        if (secrets_has_name(secrets, key))
            add_leaves(secrets, member, 1);
        else if (redact_is_secret_name(key))
            add_leaves(secrets, member, SECRETS_GUESSED_MIN);
        else
            collect(secrets, member);
    }
}

void secrets_collect(struct secrets *secrets, const json_t *value, enum secrets_place place)
{
    if (!value)
        return;
    if (place == SECRETS_OF_RESULT && secrets_has_name(secrets, "result"))
        add_leaves(secrets, value, 1);
    for (size_t i = 0; place == SECRETS_OF_ARGS && i < json_array_size(value); i++)
        if (secrets_has_place(secrets, i))
            add_leaves(secrets, json_array_get(value, i), 1);
    collect(secrets, value);
}

void secrets_add_all(struct secrets *secrets, const struct secrets *others)
{
    for (size_t i = 0; others && i < others->value_count; i++)
        add_value(secrets, others->values[i], 1);
    secrets->is_full |= others && others->is_full;
}

/* ---- texts ---- */

/* The length of the value that begins at `at`; 0: none does. A text may have been cut within one.
 */
static size_t value_at(const struct secrets *secrets, const char *text, size_t at, size_t text_len)
{
    for (size_t i = 0; i < secrets->value_count; i++) {
        const char *value = secrets->values[i];
        size_t len = strlen(value);
        bool is_cut = len > text_len - at;

        if (is_cut)
            len = text_len - at;
        if (*value != text[at] || strncmp(text + at, value, len) != 0)
            continue;
        if (len > ALONE_MAX || (!is_cut && (at == 0 || !isalnum((unsigned char)text[at - 1])) &&
                                !isalnum((unsigned char)text[at + len])))
            return len;
    }
    return 0;
}

static char *hide_values(const struct secrets *secrets, const char *text)
{
    AUTO_VALUE(buf_release) struct buf out;
    size_t text_len = strlen(text);

    buf_init(&out, text_len * sizeof REDACTED + 1);
    for (size_t i = 0; i < text_len;) {
        size_t len = value_at(secrets, text, i, text_len);

        if (len > 0)
            buf_add_str(&out, REDACTED);
        else
            buf_add_char(&out, text[i]);
        i += len > 0 ? len : 1;
    }
    return buf_take(&out);
}

char *secrets_hide(const struct secrets *secrets, const char *text)
{
    if (secrets && secrets->is_full)
        return mem_dup(REDACTED);
    return secrets && secrets->value_count > 0 ? hide_values(secrets, text) : mem_dup(text);
}
