/* SPDX-License-Identifier: MIT
 *
 * Parsing of searches; see job_search.h. An expression is a set of alternatives, each a set of
 * terms as bits: "or" joins two sets, "and" combines each alternative with each. Both are bounded.
 */
#include "common/job_search.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "common/auto.h"
#include "common/db.h"
#include "common/mem.h"
#include "common/text.h"

enum { ARRAY_MAX = 512 * 1024, DEPTH_MAX = 16 };

struct set {
    uint32_t groups[JOB_SEARCH_GROUPS];
    size_t count;
};

struct parser {
    const char *at;
    struct job_search_term *terms; /* JOB_SEARCH_TERMS of them */
    size_t term_count;
    int depth;
};

static const struct {
    const char *name;
    enum job_search_kind kind;
} fields[] = {
    {"name", SEARCH_NAME},   {"state", SEARCH_STATE},   {"worker", SEARCH_WORKER},
    {"args", SEARCH_ARGS},   {"kwargs", SEARCH_KWARGS}, {"result", SEARCH_RESULT},
    {"queue", SEARCH_QUEUE}, {"error", SEARCH_ERROR},
};

/* ---- words ---- */

static void skip_blanks(struct parser *parser) { parser->at += strspn(parser->at, " \t\r\n"); }

/* Whether the bare word stands here, alone. */
static bool is_word(const char *at, const char *word)
{
    size_t len = strlen(word);

    return strncmp(at, word, len) == 0 && (at[len] == '\0' || strchr(" \t\r\n()", at[len]));
}

static bool is_or(const char *at) { return is_word(at, "OR"); }

/* Takes a word, or what stands in quotes, into `out`. */
static enum err_code take_word(struct parser *parser, char out[JOB_SEARCH_BYTES + 1], struct err *e)
{
    const char *p = parser->at;
    size_t n = 0;

    if (*p == '"') {
        for (p++; *p && *p != '"'; p++) {
            if (*p == '\\' && p[1])
                p++;
            out[n++] = *p;
        }
        if (*p != '"')
            return err_set(e, ERR_INVALID, "the search has a quote that is not closed");
        p++;
    } else {
        while (*p && !strchr(" \t\r\n()\"", *p))
            out[n++] = *p++;
    }
    out[n] = '\0';
    parser->at = p;
    return ERR_OK;
}

/* The field that stands here with its colon. */
static bool take_field(struct parser *parser, enum job_search_kind *kind)
{
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        size_t len = strlen(fields[i].name);

        if (strncasecmp(parser->at, fields[i].name, len) == 0 && parser->at[len] == ':') {
            parser->at += len + 1;
            *kind = fields[i].kind;
            return true;
        }
    }
    return false;
}

/* KEY=VALUE, where VALUE may be quoted; without a key it is looked for in all kwargs. */
static enum err_code take_kwarg(struct parser *parser, struct job_search_term *term, struct err *e)
{
    size_t len = strcspn(parser->at, "= \t\r\n()\"");

    if (parser->at[len] != '=')
        return take_word(parser, term->text, e);
    if (len == 0)
        return err_set(e, ERR_INVALID, "kwargs: is followed by KEY=VALUE");
    memcpy(term->key, parser->at, len);
    term->key[len] = '\0';
    parser->at += len + 1;
    return take_word(parser, term->text, e);
}

static void change_case(char *text, int (*change)(int))
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x80)
            *text = (char)change((unsigned char)*text);
}

static enum err_code check_term(struct job_search_term *term, struct err *e)
{
    bool anywhere = term->kind == SEARCH_ANY || term->kind == SEARCH_NAME ||
                    term->kind == SEARCH_RESULT || term->kind == SEARCH_ERROR ||
                    (term->kind == SEARCH_KWARGS && !*term->key);

    if (!*term->text)
        return err_set(e, ERR_INVALID, "the search has an empty word");
    if (anywhere && text_count_chars(term->text) < JOB_SEARCH_WORD_MIN)
        return err_set(e, ERR_INVALID, "a word to search for has at least %d characters",
                       JOB_SEARCH_WORD_MIN);
    change_case(term->text, term->kind == SEARCH_STATE ? toupper : tolower);
    return ERR_OK;
}

static enum err_code take_term(struct parser *parser, struct set *ret_set, struct err *e)
{
    struct job_search_term *term = &parser->terms[parser->term_count];
    enum err_code rc;

    if (parser->term_count == JOB_SEARCH_TERMS)
        return err_set(e, ERR_INVALID, "the search has more than %d words", JOB_SEARCH_TERMS);
    if (is_word(parser->at, "NOT") || *parser->at == '-')
        return err_set(e, ERR_INVALID,
                       "a search finds what is there: NOT and - are not understood;"
                       " put a word that begins so in quotes");
    *term = (struct job_search_term){.kind = SEARCH_ANY};
    if (take_field(parser, &term->kind) && term->kind == SEARCH_KWARGS)
        rc = take_kwarg(parser, term, e);
    else
        rc = take_word(parser, term->text, e);
    if (!rc)
        rc = check_term(term, e);
    if (rc)
        return rc;
    *ret_set = (struct set){.groups = {UINT32_C(1) << parser->term_count}, .count = 1};
    parser->term_count++;
    return ERR_OK;
}

/* ---- sets ---- */

static enum err_code too_wide(struct err *e)
{
    return err_set(e, ERR_INVALID, "the search has more than %d alternatives", JOB_SEARCH_GROUPS);
}

static enum err_code set_or(struct set *set, const struct set *other, struct err *e)
{
    if (set->count + other->count > JOB_SEARCH_GROUPS)
        return too_wide(e);
    for (size_t i = 0; i < other->count; i++)
        set->groups[set->count++] = other->groups[i];
    return ERR_OK;
}

static enum err_code set_and(struct set *set, const struct set *other, struct err *e)
{
    struct set both = {0};

    if (set->count == 0) {
        *set = *other;
        return ERR_OK;
    }
    if (set->count * other->count > JOB_SEARCH_GROUPS)
        return too_wide(e);
    for (size_t i = 0; i < set->count; i++)
        for (size_t j = 0; j < other->count; j++)
            both.groups[both.count++] = set->groups[i] | other->groups[j];
    *set = both;
    return ERR_OK;
}

/* ---- expressions ---- */

static enum err_code take_or(struct parser *parser, struct set *ret_set, struct err *e);

static enum err_code take_factor(struct parser *parser, struct set *ret_set, struct err *e)
{
    enum err_code rc;

    if (*parser->at != '(')
        return take_term(parser, ret_set, e);
    if (++parser->depth > DEPTH_MAX)
        return err_set(e, ERR_INVALID, "the search has brackets deeper than %d", DEPTH_MAX);
    parser->at++;
    rc = take_or(parser, ret_set, e);
    if (rc)
        return rc;
    if (*parser->at != ')')
        return err_set(e, ERR_INVALID, "the search has a bracket that is not closed");
    parser->at++;
    parser->depth--;
    return ERR_OK;
}

static enum err_code take_and(struct parser *parser, struct set *ret_set, struct err *e)
{
    struct set set = {0};
    enum err_code rc = ERR_OK;

    for (skip_blanks(parser); !rc && *parser->at && *parser->at != ')' && !is_or(parser->at);
         skip_blanks(parser)) {
        struct set one = {0};

        if (set.count > 0 && is_word(parser->at, "AND")) { /* which two words mean anyway */
            parser->at += 3;
            skip_blanks(parser);
            if (!*parser->at || *parser->at == ')' || is_or(parser->at))
                return err_set(e, ERR_INVALID, "the search lacks a word behind AND");
        }
        rc = take_factor(parser, &one, e);
        if (!rc)
            rc = set_and(&set, &one, e);
    }
    if (!rc && set.count == 0)
        rc = err_set(e, ERR_INVALID, "the search lacks a word beside OR or between brackets");
    *ret_set = set;
    return rc;
}

static enum err_code take_or(struct parser *parser, struct set *ret_set, struct err *e)
{
    struct set set = {0};
    enum err_code rc = take_and(parser, &set, e);

    while (!rc && is_or(parser->at)) {
        struct set other = {0};

        parser->at += 2;
        rc = take_and(parser, &other, e);
        if (!rc)
            rc = set_or(&set, &other, e);
    }
    *ret_set = set;
    return rc;
}

/* ---- arrays ---- */

static void add_number(struct buf *array, size_t number)
{
    char text[24] = "";

    if (text_format(text, sizeof text, "%zu", number))
        db_array_add(array, text);
}

static void add_group(struct job_search *search, const struct parser *parser, size_t number,
                      uint32_t group)
{
    for (size_t i = 0; i < parser->term_count; i++) {
        if (!(group & UINT32_C(1) << i))
            continue;
        add_number(&search->groups, number);
        add_number(&search->kinds, parser->terms[i].kind);
        db_array_add(&search->keys, parser->terms[i].key);
        db_array_add(&search->texts, parser->terms[i].text);
        search->count++;
    }
}

enum err_code job_search_parse(const char *text, struct job_search *ret_search, struct err *e)
{
    struct parser parser = {.at = text};
    struct set set = {0};
    enum err_code rc;

    *ret_search = (struct job_search){.terms = mem_array(JOB_SEARCH_TERMS, sizeof *parser.terms)};
    parser.terms = ret_search->terms;
    buf_init(&ret_search->groups, ARRAY_MAX);
    buf_init(&ret_search->kinds, ARRAY_MAX);
    buf_init(&ret_search->keys, ARRAY_MAX);
    buf_init(&ret_search->texts, ARRAY_MAX);
    if (strlen(text) > JOB_SEARCH_BYTES)
        return err_set(e, ERR_INVALID, "a search has at most %d bytes", JOB_SEARCH_BYTES);
    skip_blanks(&parser);
    if (!*parser.at)
        return ERR_OK;
    rc = take_or(&parser, &set, e);
    if (!rc && *parser.at)
        rc = err_set(e, ERR_INVALID, "the search has a bracket that was not opened");
    if (rc)
        return rc;
    ret_search->term_count = parser.term_count;
    ret_search->alternative_count = set.count;
    memcpy(ret_search->alternatives, set.groups, sizeof set.groups);
    for (size_t i = 0; i < set.count; i++)
        add_group(ret_search, &parser, i, set.groups[i]);
    db_array_end(&ret_search->groups);
    db_array_end(&ret_search->kinds);
    db_array_end(&ret_search->keys);
    db_array_end(&ret_search->texts);
    return ERR_OK;
}

void job_search_release(struct job_search *search)
{
    if (!search->groups.data)
        return;
    mem_free(search->terms);
    buf_release(&search->groups);
    buf_release(&search->kinds);
    buf_release(&search->keys);
    buf_release(&search->texts);
}
