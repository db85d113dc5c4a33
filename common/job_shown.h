/* SPDX-License-Identifier: MIT
 *
 * What people may see of a job's args, kwargs, result and error: its secrets redacted, those that
 * its task declares and those that look like one. Everything that shows a job, and the index that
 * finds it, takes these and never the raw ones. Pure.
 */
#ifndef COMMON_JOB_SHOWN_H
#define COMMON_JOB_SHOWN_H

#include "common/job_search.h"
#include "common/jobs_view.h"
#include "common/json.h"
#include "common/secrets.h"

struct job_shown {
    json_t *args; /* owned, like all; NULL: absent, or not fetched */
    json_t *kwargs;
    json_t *result;
    char *error;
    struct secrets secrets; /* for its other texts: job_shown_text() */
};

void job_shown_make(const struct job_view *job, struct job_shown *ret_shown);
void job_shown_release(struct job_shown *shown);

/* A redacted string, or null for NULL. New values. Without a job (NULL) only what looks like a
 * secret is hidden. */
json_t *job_shown_text(const struct job_shown *shown, const char *text);

/* The same for the SCOPE:NAME of a limit: the scope "key" before a name would make a secret of any.
 */
json_t *job_shown_parked(const struct job_shown *shown, const char *parked_on);
/* JSON text as a redacted value; what is no JSON becomes a redacted string. */
json_t *job_shown_value(const struct job_shown *shown, const char *text);

/* The texts in which words are looked for. */
struct job_words {
    char *args; /* JSON; owned, like those down to error; NULL: absent */
    char *kwargs;
    char *result;
    const char *error; /* borrowed, like all below */
    const char *task;
    const char *queue;
    const char *worker;
    const char *state;
};

void job_words_make(const struct job_view *job, const struct job_shown *shown,
                    struct job_words *ret_words);
void job_words_release(struct job_words *words);

/* Whether one of the alternatives wholly describes the job. */
bool job_search_matches(const struct job_search *search, const struct job_view *job,
                        const struct job_shown *shown, const struct job_words *words);

#endif
