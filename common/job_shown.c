/* SPDX-License-Identifier: MIT
 *
 * The visible side of a job; see job_shown.h. A value that nobody may see is not even searched.
 */
#include "common/job_shown.h"

#include <string.h>
#include <strings.h>

#include "common/job_grams.h"
#include "common/mem.h"
#include "common/redact.h"

enum { VALUE_MAX = 1024 * 1024 };

/* What cannot be read (too long, too deep, a number beyond what C has) may hold a secret anywhere:
 * with declared ones nothing of the job is shown that might repeat it. */
static json_t *read_value(const char *text, struct secrets *secrets)
{
    json_t *value = NULL;

    if (!text || !json_read(text, strlen(text), VALUE_MAX, &value, NULL))
        return value;
    secrets->is_full |= secrets->name_count > 0;
    return json_string(text);
}

void job_shown_make(const struct job_view *job, struct job_shown *ret_shown)
{
    AUTO(json_decref) json_t *args = NULL;
    AUTO(json_decref) json_t *kwargs = NULL;
    AUTO(json_decref) json_t *result = NULL;
    struct job_shown shown = {0};

    secrets_declare(&shown.secrets, job->secrets);
    secrets_add_all(&shown.secrets, job->in_long);
    args = read_value(job->args, &shown.secrets);
    kwargs = read_value(job->kwargs, &shown.secrets);
    result = read_value(job->result, &shown.secrets);
    secrets_collect(&shown.secrets, args, SECRETS_OF_ARGS);
    secrets_collect(&shown.secrets, kwargs, SECRETS_OF_OBJECT);
    secrets_collect(&shown.secrets, result, SECRETS_OF_RESULT);
    if (args && job->args_bytes <= job->shows_max)
        shown.args = redact_json_of(&shown.secrets, args, SECRETS_OF_ARGS);
    if (kwargs && job->kwargs_bytes <= job->shows_max)
        shown.kwargs = redact_json_of(&shown.secrets, kwargs, SECRETS_OF_OBJECT);
    if (result && job->result_bytes <= job->shows_max)
        shown.result = redact_json_of(&shown.secrets, result, SECRETS_OF_RESULT);
    if (job->error)
        shown.error = redact_text_of(&shown.secrets, job->error);
    *ret_shown = shown;
}

void job_shown_release(struct job_shown *shown)
{
    json_decref(shown->args);
    json_decref(shown->kwargs);
    json_decref(shown->result);
    mem_free(shown->error);
    secrets_release(&shown->secrets);
    *shown = (struct job_shown){0};
}

json_t *job_shown_text(const struct job_shown *shown, const char *text)
{
    AUTO(mem_free)
    char *visible = text ? redact_text_of(shown ? &shown->secrets : NULL, text) : NULL;

    return visible ? json_string(visible) : json_null();
}

json_t *job_shown_parked(const struct job_shown *shown, const char *parked_on)
{
    AUTO(json_decref) json_t *name = NULL;
    const char *colon = parked_on ? strchr(parked_on, ':') : NULL;

    if (!colon)
        return job_shown_text(shown, parked_on);
    name = job_shown_text(shown, colon + 1);
    return json_sprintf("%.*s:%s", (int)(colon - parked_on), parked_on,
                        name ? json_string_value(name) : "");
}

json_t *job_shown_value(const struct job_shown *shown, const char *text)
{
    struct secrets none = {0};
    AUTO(json_decref) json_t *value = read_value(text, &none);

    if (!value)
        return json_null();
    return redact_json_of(shown ? &shown->secrets : NULL, value, SECRETS_OF_OBJECT);
}

/* ---- words ---- */

static char *dump(const json_t *value)
{
    return value ? json_dumps(value, JSON_ENCODE_ANY | JSON_SORT_KEYS) : NULL;
}

void job_words_make(const struct job_view *job, const struct job_shown *shown,
                    struct job_words *ret_words)
{
    *ret_words = (struct job_words){
        .args = dump(shown->args),
        .kwargs = dump(shown->kwargs),
        .result = dump(shown->result),
        .error = shown->error,
        .task = job->task,
        .queue = job->queue,
        .worker = job->worker,
        .state = job_state_name(job->state),
    };
}

void job_words_release(struct job_words *words)
{
    mem_free(words->args);
    mem_free(words->kwargs);
    mem_free(words->result);
    *words = (struct job_words){0};
}

static bool has(const char *text, const char *word)
{
    return text && strcasestr(text, word) != NULL;
}

static bool has_kwarg(const struct job_shown *shown, const struct job_words *words,
                      const struct job_search_term *term)
{
    const char *key;
    json_t *value;

    if (!*term->key)
        return has(words->kwargs, term->text);
    json_object_foreach(shown->kwargs, key, value)
    {
        AUTO(mem_free) char *text = NULL;

        if (strcmp(key, term->key) != 0)
            continue;
        text = json_is_string(value) ? mem_dup(json_string_value(value)) : dump(value);
        /* A short value is the whole one: 7 is not 17. */
        if (strlen(term->text) < JOB_PAIR_BYTES ? text && strcasecmp(text, term->text) == 0
                                                : has(text, term->text))
            return true;
    }
    return false;
}

static bool describes(const struct job_search_term *term, const struct job_view *job,
                      const struct job_shown *shown, const struct job_words *words)
{
    const char *text = term->text;

    switch (term->kind) {
    case SEARCH_ANY:
        return has(words->task, text) || has(job->id.text, text) || has(words->state, text) ||
               has(words->worker, text) || has(words->args, text) || has(words->kwargs, text) ||
               has(words->result, text) || has(words->error, text) || has(words->queue, text);
    case SEARCH_NAME:
        return has(words->task, text);
    case SEARCH_STATE:
        return strcmp(words->state, text) == 0;
    case SEARCH_WORKER:
        return has(words->worker, text);
    case SEARCH_ARGS:
        return has(words->args, text);
    case SEARCH_KWARGS:
        return has_kwarg(shown, words, term);
    case SEARCH_RESULT:
        return has(words->result, text) || has(words->error, text);
    case SEARCH_QUEUE:
        return has(words->queue, text);
    case SEARCH_ERROR:
        return has(words->error, text);
    }
    return false;
}

bool job_search_matches(const struct job_search *search, const struct job_view *job,
                        const struct job_shown *shown, const struct job_words *words)
{
    for (size_t i = 0; i < search->alternative_count; i++) {
        bool all = true;

        for (size_t k = 0; all && k < search->term_count; k++)
            all = !(search->alternatives[i] & UINT32_C(1) << k) ||
                  describes(&search->terms[k], job, shown, words);
        if (all)
            return true;
    }
    return false;
}
