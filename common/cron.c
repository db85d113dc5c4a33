/* SPDX-License-Identifier: MIT
 *
 * Reading cron expressions; see cron.h. What other implementations read in several ways, or read as
 * something that nobody meant (a step without a range, a range that wraps, L, W, #, a year), is
 * refused with what to write instead, so that it can be taken later without breaking anyone.
 */
#include "common/cron.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/auto.h"
#include "common/buf.h"

enum { FIELDS_MAX = 6, NUMBER_MAX = 999999999, SHOWN_MAX = 40 };

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                          "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

struct field {
    const char *name;
    int min;
    int max;
    const char *const *names; /* the first is `min`; NULL: numbers only */
};

static const struct field fields[FIELDS_MAX] = {
    {"second", 0, 59, NULL},       {"minute", 0, 59, NULL},
    {"hour", 0, 23, NULL},         {"day of month", 1, 31, NULL},
    {"month", 1, 12, month_names}, {"day of week", 0, 7, weekday_names},
};

struct span {
    const char *at;
    size_t len;
};

/* One field while it is read. */
struct item {
    const struct field *field;
    struct span text;
    struct err *e;
};

/* Text from outside, for a message: printable, and not long. */
static void show(const struct span *text, char out[SHOWN_MAX + 4])
{
    size_t len = text->len < SHOWN_MAX ? text->len : SHOWN_MAX;

    for (size_t i = 0; i < len; i++)
        out[i] = (char)(text->at[i] < ' ' || text->at[i] > '~' ? '?' : text->at[i]);
    out[len] = '\0';
    if (text->len > SHOWN_MAX)
        memcpy(out + len, "...", 4);
}

static enum err_code refuse(const struct item *item, const char *why)
{
    char shown[SHOWN_MAX + 4];

    show(&item->text, shown);
    return err_set(item->e, ERR_INVALID, "%s \"%s\": %s", item->field->name, shown, why);
}

/* ---- numbers and names ---- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static size_t take_class(struct span *rest, bool (*is)(char))
{
    size_t len = 0;

    while (len < rest->len && is(rest->at[len]))
        len++;
    rest->at += len;
    rest->len -= len;
    return len;
}

static bool take_char(struct span *rest, char c)
{
    if (rest->len == 0 || *rest->at != c)
        return false;
    rest->at++;
    rest->len--;
    return true;
}

static enum err_code take_number(const struct item *item, struct span *rest, int *ret)
{
    const char *at = rest->at;
    size_t len = take_class(rest, is_digit);
    int value = 0;

    for (size_t i = 0; i < len; i++) {
        if (value > NUMBER_MAX / 10)
            return refuse(item, "the number does not fit");
        value = value * 10 + (at[i] - '0');
    }
    *ret = value;
    return ERR_OK;
}

/* Words that other dialects have here. */
static enum err_code refuse_word(const struct item *item, const char *word, size_t len)
{
    if (len == 1 && strchr("LWHlwh", *word))
        return refuse(item, "L, W and H are not supported");
    if (!item->field->names)
        return refuse(item, "this field takes numbers, no names");
    if (len > 3)
        return refuse(item, "names have three letters, as in jan or mon");
    return refuse(item, "there is no such name");
}

static enum err_code take_name(const struct item *item, struct span *rest, int *ret)
{
    const char *word = rest->at;
    size_t len = take_class(rest, is_letter);

    for (int i = 0; len == 3 && item->field->names && item->field->names[i]; i++) {
        if (strncasecmp(word, item->field->names[i], 3) == 0) {
            *ret = item->field->min + i;
            return ERR_OK;
        }
    }
    return refuse_word(item, word, len);
}

static enum err_code take_value(const struct item *item, struct span *rest, int *ret)
{
    char why[80];
    enum err_code rc;

    if (rest->len == 0)
        return refuse(item, "a value is missing");
    if (is_letter(*rest->at))
        return take_name(item, rest, ret);
    if (!is_digit(*rest->at)) {
        if (*rest->at == '?')
            return refuse(item, "\"?\" is not supported: write *");
        return refuse(item, *rest->at == '-' ? "a range needs its beginning"
                                             : "a number or * is expected here");
    }
    rc = take_number(item, rest, ret);
    if (!rc && (*ret < item->field->min || *ret > item->field->max)) {
        (void)snprintf(why, sizeof why, "%d is not within %d to %d", *ret, item->field->min,
                       item->field->max);
        return refuse(item, why);
    }
    return rc;
}

/* ---- items ---- */

static enum err_code refuse_reversed(const struct item *item, int from, int to)
{
    char why[100];

    if (item->field->max == 7 && to == 0) /* the day of the week: Sunday is 7, too */
        (void)snprintf(why, sizeof why, "the range is reversed: write %d-7", from);
    else
        (void)snprintf(why, sizeof why, "the range is reversed: write %d-%d,%d-%d", from,
                       item->field->max == 7 ? 6 : item->field->max, item->field->min, to);
    return refuse(item, why);
}

static enum err_code refuse_rest(const struct item *item, const struct span *rest)
{
    switch (*rest->at) {
    case '#':
        return refuse(item, "\"#\" is not supported");
    case '~':
        return refuse(item, "\"~\" is not supported: a schedule has jitter for that");
    case 'L':
    case 'W':
        return refuse(item, "L and W are not supported");
    default:
        return refuse(item, "the end is not understood");
    }
}

static enum err_code take_step(const struct item *item, struct span *rest, int *ret)
{
    enum err_code rc;

    if (rest->len == 0 || !is_digit(*rest->at))
        return refuse(item, "a step is a number");
    rc = take_number(item, rest, ret);
    if (!rc && *ret == 0)
        return refuse(item, "a step is at least 1");
    return rc;
}

static enum err_code refuse_bare_step(const struct item *item, int from, int step)
{
    char why[80];

    (void)snprintf(why, sizeof why, "a step needs a range: write %d-%d/%d", from,
                   item->field->max == 7 ? 6 : item->field->max, step);
    return refuse(item, why);
}

/* One of a comma list. Its values become bits. */
static enum err_code read_item(const struct item *item, uint64_t *bits)
{
    struct span rest = item->text;
    int from = item->field->min;
    int to = item->field->max;
    int step = 1;
    bool single = false;
    enum err_code rc = ERR_OK;

    if (rest.len == 0)
        return refuse(item, "an item of the list is empty");
    if (!take_char(&rest, '*')) {
        rc = take_value(item, &rest, &from);
        single = !rc && !take_char(&rest, '-');
        if (!rc && !single)
            rc = take_value(item, &rest, &to);
        else
            to = from;
    }
    if (!rc && from > to)
        return refuse_reversed(item, from, to);
    if (!rc && take_char(&rest, '/')) {
        rc = take_step(item, &rest, &step);
        if (!rc && single)
            return refuse_bare_step(item, from, step);
    }
    if (!rc && rest.len > 0)
        return refuse_rest(item, &rest);
    for (int value = from; !rc && value <= to; value = step > to - value ? to + 1 : value + step)
        *bits |= UINT64_C(1) << value;
    return rc;
}

static enum err_code read_field(const struct field *field, struct span text, uint64_t *ret_bits,
                                struct err *e)
{
    enum err_code rc = ERR_OK;

    *ret_bits = 0;
    for (const char *end = text.at + text.len; !rc; text.at += text.len + 1) {
        const char *comma = memchr(text.at, ',', (size_t)(end - text.at));

        text.len = (size_t)((comma ? comma : end) - text.at);
        rc = read_item(&(struct item){field, text, e}, ret_bits);
        if (!comma)
            break;
    }
    if (field->max == 7 && (*ret_bits & 1u << 7))
        *ret_bits = (*ret_bits | 1) & 0x7f;
    return rc;
}

/* ---- lines ---- */

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static bool is_no_blank(char c) { return !is_blank(c); }

/* Splits at blanks. Gives how many there are, also when they are more than `max`. */
static size_t split(const char *text, struct span *words, size_t max)
{
    struct span rest = {text, strlen(text)};
    size_t count = 0;

    for (;;) {
        struct span word;

        (void)take_class(&rest, is_blank);
        word = rest;
        word.len = take_class(&rest, is_no_blank);
        if (word.len == 0)
            return count;
        if (count < max)
            words[count] = word;
        count++;
    }
}

static bool has_prefix(const struct span *word, const char *prefix)
{
    return word->len >= strlen(prefix) && memcmp(word->at, prefix, strlen(prefix)) == 0;
}

static enum err_code check_count(size_t count, const struct span *first, struct err *e)
{
    static const char wanted[] = "minute, hour, day of month, month, day of week";

    if (count == 0)
        return err_set(e, ERR_INVALID, "expression: it is empty; it has five fields: %s", wanted);
    if (has_prefix(first, "TZ=") || has_prefix(first, "CRON_TZ="))
        return err_set(e, ERR_INVALID,
                       "expression: a time zone is no part of it, but given by itself");
    if (count == 5 || count == 6)
        return ERR_OK;
    if (count == 7)
        return err_set(e, ERR_INVALID,
                       "expression: 7 fields; a year is not supported, and there are five: %s",
                       wanted);
    return err_set(e, ERR_INVALID,
                   "expression: %zu fields where there should be five (%s), or six with the second "
                   "first",
                   count, wanted);
}

static enum err_code read_fields(const struct span *words, size_t count, struct cron *cron,
                                 struct err *e)
{
    uint64_t bits[FIELDS_MAX] = {1}; /* without its field, the second is 0 */
    bool star[FIELDS_MAX] = {false};
    size_t first = FIELDS_MAX - count;
    enum err_code rc = ERR_OK;

    for (size_t i = 0; !rc && i < count; i++) {
        rc = read_field(&fields[first + i], words[i], &bits[first + i], e);
        star[first + i] = *words[i].at == '*';
    }
    *cron = (struct cron){
        .seconds = bits[0],
        .minutes = bits[1],
        .hours = (uint32_t)bits[2],
        .days = (uint32_t)bits[3],
        .months = (uint32_t)bits[4],
        .weekdays = (uint32_t)bits[5],
        .days_star = star[3],
        .weekdays_star = star[5],
        .wild = star[0] || star[1] || star[2],
    };
    return rc;
}

/* ---- macros ---- */

static const struct {
    const char *name;
    const char *text;
} macros[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 * * * *"},
};

/* 1h30m10s: each unit at most once, the large before the small. */
static enum err_code read_every(const struct span *text, struct cron *cron, struct err *e)
{
    static const struct field every = {"@every", 0, 0, NULL};
    static const char units[] = "hms";
    static const int seconds[] = {3600, 60, 1};
    const struct item item = {&every, *text, e};
    struct span rest = *text;
    int64_t total = 0;
    size_t unit = 0;

    while (rest.len > 0) {
        int value = 0;

        if (!is_digit(*rest.at))
            return refuse(&item, "an interval is whole hours, minutes, seconds, as in 1h30m");
        if (take_number(&item, &rest, &value))
            return ERR_INVALID;
        while (units[unit] && (rest.len == 0 || *rest.at != units[unit]))
            unit++;
        if (!units[unit])
            return refuse(&item, "an interval is whole hours, minutes, seconds, as in 1h30m");
        total += (int64_t)value * seconds[unit++];
        rest.at++;
        rest.len--;
    }
    if (total < 1)
        return refuse(&item, "an interval is at least one second");
    if (total > CRON_EVERY_MAX_S)
        return refuse(&item, "an interval is at most ten years");
    *cron = (struct cron){.every_s = total};
    return ERR_OK;
}

static bool is_word(const struct span *word, const char *text)
{
    return word->len == strlen(text) && memcmp(word->at, text, word->len) == 0;
}

static enum err_code read_macro(const struct span *words, size_t count, struct cron *cron,
                                struct err *e)
{
    static const struct field macro = {"macro", 0, 0, NULL};
    const struct item item = {&macro, words[0], e};

    if (is_word(&words[0], "@every")) {
        if (count == 2)
            return read_every(&words[1], cron, e);
        return refuse(&item, "one interval follows it, as in @every 1h30m");
    }
    for (size_t i = 0; i < COUNT_OF(macros); i++) {
        struct span parts[FIELDS_MAX];

        if (!is_word(&words[0], macros[i].name))
            continue;
        if (count > 1)
            return refuse(&item, "nothing may follow it");
        return read_fields(parts, split(macros[i].text, parts, FIELDS_MAX), cron, e);
    }
    if (is_word(&words[0], "@reboot"))
        return refuse(&item, "it is not supported: a schedule knows no restarts");
    return refuse(&item, "there is no such one; there are @yearly, @monthly, @weekly, @daily, "
                         "@hourly and @every");
}

enum err_code cron_parse(const char *text, struct cron *ret_cron, struct err *e)
{
    struct span words[FIELDS_MAX] = {{NULL, 0}};
    struct cron cron = {0};
    size_t count;
    enum err_code rc;

    if (strlen(text) > CRON_TEXT_MAX)
        return err_set(e, ERR_INVALID, "expression: it is longer than %d bytes", CRON_TEXT_MAX);
    for (const char *p = text; *p; p++)
        if ((*p < ' ' && *p != '\t') || *p > '~')
            return err_set(e, ERR_INVALID,
                           "expression: byte %zu is no printable ASCII; fields are separated by "
                           "spaces and tabs",
                           (size_t)(p - text) + 1);
    count = split(text, words, FIELDS_MAX);
    if (count > 0 && *words[0].at == '@') {
        rc = read_macro(words, count, &cron, e);
    } else {
        rc = check_count(count, &words[0], e);
        if (!rc)
            rc = read_fields(words, count, &cron, e);
    }
    if (!rc)
        *ret_cron = cron;
    return rc;
}
