/* SPDX-License-Identifier: MIT
 *
 * Finding secrets by name and by form; see redact.h. Rather hides a harmless value than shows a
 * secret one.
 */
#include "common/redact.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"

enum { WORD_MAX = 32 };

static const char *const secret_words[] = {
    "apikey", "auth",     "authorization", "bearer", "card",   "cards",   "cookie",  "credential",
    "cvc",    "cvv",      "key",           "keys",   "pan",    "passwd",  "pass",    "passphrase",
    "pwd",    "password", "passwords",     "pin",    "secret", "secrets", "session", "signature",
    "token",  "tokens",   "credentials",   "jwt",    "otp",
};

static bool is_secret_word(const char *word)
{
    for (size_t i = 0; i < COUNT_OF(secret_words); i++)
        if (strcmp(word, secret_words[i]) == 0)
            return true;
    return false;
}

bool redact_is_secret_name(const char *name)
{
    char word[WORD_MAX];
    size_t len = 0;

    for (const char *p = name;; p++) {
        bool ends = !isalpha((unsigned char)*p);
        bool hump = len > 0 && isupper((unsigned char)*p) && islower((unsigned char)p[-1]);

        if (ends || hump) {
            word[len] = '\0';
            if (is_secret_word(word))
                return true;
            len = 0;
        }
        if (!*p)
            return false;
        if (!ends && len < sizeof word - 1)
            word[len++] = (char)tolower((unsigned char)*p);
    }
}

/* The length of the name that ends before `end`, within `text`. */
static size_t name_before(const char *text, size_t end)
{
    size_t len = 0;

    while (len < end && (isalnum((unsigned char)text[end - len - 1]) ||
                         text[end - len - 1] == '_' || text[end - len - 1] == '-'))
        len++;
    return len;
}

/* Whether what stands before `at` (a ':' or '=') is a secret name, bare or in quotes. */
static bool follows_secret_name(const char *text, size_t at)
{
    char name[64];
    size_t end = at;
    size_t len;

    while (end > 0 && text[end - 1] == ' ')
        end--;
    if (end > 0 && (text[end - 1] == '"' || text[end - 1] == '\''))
        end--;
    if (end > 0 && text[end - 1] == '\\')
        end--;
    len = name_before(text, end);
    if (len == 0 || len >= sizeof name)
        return false;
    memcpy(name, text + end - len, len);
    name[len] = '\0';
    return redact_is_secret_name(name);
}

/* The length of the value at `p`: a quoted text, or up to what ends a word. */
static size_t value_length(const char *p)
{
    if (*p == '"' || *p == '\'') {
        size_t len = 1;

        while (p[len] && p[len] != *p)
            len += p[len] == '\\' && p[len + 1] ? 2 : 1;
        return p[len] ? len + 1 : len;
    }
    return strcspn(p, " \t\r\n,;&\"'<>)}]");
}

static void add_secret(struct buf *out, const char *text, size_t *at)
{
    size_t i = *at;
    size_t len;

    while (text[i] == ' ' || text[i] == '\\')
        buf_add_char(out, text[i++]);
    len = value_length(text + i);
    /* "Authorization: Bearer abc" has its secret in the second word. */
    if (strncasecmp(text + i, "bearer ", 7) == 0 || strncasecmp(text + i, "basic ", 6) == 0)
        len += 1 + value_length(text + i + len + 1);
    if (len > 0)
        buf_add_str(out, text[i] == '"' ? "\"" REDACTED "\"" : REDACTED);
    *at = i + len;
}

/* The length of user:password before the '@' of a URL, after "//"; 0 when there is none. */
static size_t url_credentials(const char *p)
{
    size_t len = strcspn(p, "/@ \t\r\n\"'<>");

    return p[len] == '@' && memchr(p, ':', len) ? len : 0;
}

/* The length of the run of digits, blanks and hyphens at `p`, when a card number is in it. */
static size_t card_length(const char *p)
{
    size_t len = strspn(p, "0123456789 -");

    while (len > 0 && !isdigit((unsigned char)p[len - 1]))
        len--;
    return text_has_card_number(p, len) ? len : 0;
}

static size_t known_secret_length(const char *p)
{
    static const char *const prefixes[] = {"sk_live_", "sk_test_", "rk_live_", "rk_test_",
                                           "whsec_",   "pm_",      "eyJ"};

    for (size_t i = 0; i < COUNT_OF(prefixes); i++)
        if (text_starts(p, prefixes[i]))
            return strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
    return 0;
}

char *redact_text(const char *text)
{
    AUTO_VALUE(buf_release) struct buf out;
    size_t i = 0;

    buf_init(&out, strlen(text) * 8 + 64);
    while (text[i]) {
        bool begins = i == 0 || !isalnum((unsigned char)text[i - 1]);
        size_t hidden = 0;

        if (isdigit((unsigned char)text[i])) {
            if (i == 0 || !isdigit((unsigned char)text[i - 1])) /* "visa4242…" is one, too */
                hidden = card_length(text + i);
        } else if (begins) {
            hidden = known_secret_length(text + i);
        }
        if (!hidden && begins && strncasecmp(text + i, "bearer ", 7) == 0) {
            buf_add(&out, text + i, 7);
            i += 7;
            hidden = value_length(text + i);
            if (!hidden)
                continue; /* the text may end here */
        }
        if (!hidden && i >= 2 && text[i - 1] == '/' && text[i - 2] == '/')
            hidden = url_credentials(text + i);
        if (hidden) {
            buf_add_str(&out, REDACTED);
            i += hidden;
            continue;
        }
        buf_add_char(&out, text[i]);
        i++;
        if ((text[i - 1] == ':' || text[i - 1] == '=') && follows_secret_name(text, i - 1))
            add_secret(&out, text, &i);
    }
    return buf_take(&out);
}

char *redact_text_of(const struct secrets *secrets, const char *text)
{
    AUTO(mem_free) char *hidden = secrets_hide(secrets, text);

    return redact_text(hidden);
}

/* ---- values ---- */

static json_t *redact_value(const struct secrets *secrets, const json_t *value);

static json_t *redact_number(const struct secrets *secrets, const json_t *value)
{
    AUTO(mem_free) char *digits = json_dumps(value, JSON_ENCODE_ANY);
    AUTO(mem_free) char *shown = digits ? redact_text_of(secrets, digits) : NULL;

    if (!shown || strcmp(shown, digits) == 0)
        return json_deep_copy(value);
    return json_string(REDACTED);
}

static json_t *redact_object(const struct secrets *secrets, const json_t *object)
{
    json_t *out = json_object();
    const char *key;
    json_t *member;

    json_object_foreach((json_t *)(uintptr_t)object, key, member)
    {
        /* A key may be a secret itself, as in {"4242 4242 …": "declined"}. */
        AUTO(mem_free) char *shown = redact_text_of(secrets, key);
        bool is_secret = redact_is_secret_name(key) || secrets_has_name(secrets, key);
        json_t *copy = is_secret && !json_is_null(member) ? json_string(REDACTED)
                                                          : redact_value(secrets, member);

        if (json_object_set_new(out, shown, copy) < 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

static json_t *redact_array(const struct secrets *secrets, const json_t *array, bool are_args)
{
    json_t *out = json_array();

    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *one = json_array_get(array, i);
        bool is_secret = are_args && !json_is_null(one) && secrets_has_place(secrets, i);

        (void)json_array_append_new(out,
                                    is_secret ? json_string(REDACTED) : redact_value(secrets, one));
    }
    return out;
}

static json_t *redact_value(const struct secrets *secrets, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return redact_object(secrets, value);
    case JSON_ARRAY:
        return redact_array(secrets, value, false);
    case JSON_STRING: {
        AUTO(mem_free) char *text = redact_text_of(secrets, json_string_value(value));

        return json_string(text);
    }
    case JSON_INTEGER:
    case JSON_REAL:
        return redact_number(secrets, value);
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NULL:
        break;
    }
    return json_deep_copy(value);
}

json_t *redact_json_of(const struct secrets *secrets, const json_t *value, enum secrets_place place)
{
    if (place == SECRETS_OF_ARGS && json_is_array(value))
        return redact_array(secrets, value, true);
    if (place == SECRETS_OF_RESULT && !json_is_null(value) && secrets_has_name(secrets, "result"))
        return json_string(REDACTED);
    return redact_value(secrets, value);
}

json_t *redact_json(const json_t *value) { return redact_json_of(NULL, value, SECRETS_OF_OBJECT); }
