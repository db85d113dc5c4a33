/* SPDX-License-Identifier: MIT
 *
 * Where the headers of a job go: all of them into its log lines, those named X-... with what it
 * sends to others, too. What is right in them when a job is accepted: job_options.h. Pure.
 */
#ifndef COMMON_JOB_HEADERS_H
#define COMMON_JOB_HEADERS_H

#include <stdbool.h>

#include <jansson.h>

#include "common/secrets.h"

enum {
    JOB_HEADERS_LOGGED = 1024, /* bytes of names and values on a log line */
    JOB_HEADERS_OUT_MAX = 16,  /* that go out with one request or mail */
    JOB_HEADER_OUT_NAME = 64,  /* bytes */
    JOB_HEADER_OUT_VALUE = 256,
};

/* What may be seen of them: an object without secrets, which the caller owns; NULL for a text that
 * is NULL or none. `secrets`: of the job, or NULL. */
json_t *job_headers_shown(const struct secrets *secrets, const char *headers);

/* As JSON for a log line, whole ones as far as they fit into JOB_HEADERS_LOGGED; NULL without any.
 * To be freed with mem_free(). */
char *job_headers_line(const json_t *shown);

/* Whether a header goes out under its own name: X-..., but for what servers obey or other programs
 * write; short printable ASCII, so that it cannot end the line it stands on. */
bool job_header_goes_out(const char *name, const char *value);

/* Those of the shown ones that go out, which the caller owns; NULL when there is none. One in which
 * something was hidden does not. */
json_t *job_headers_outgoing(const json_t *shown);

/* A job's own headers and those that it inherits, as far as a job may have so many; a name that it
 * has itself stays its own. Each may be NULL. Owned by the caller; NULL when there is none. */
json_t *job_headers_joined(const json_t *own, const json_t *inherited);

#endif
