/* SPDX-License-Identifier: MIT
 *
 * What people must not see of a job: passwords, tokens, keys, card numbers. Everything that shows
 * args, kwargs, results or errors passes it through here. Pure.
 *
 * A name is secret when one of its words is (payment_token, apiKey, X-Auth-Token), not when it
 * merely contains one (monkey, discard).
 */
#ifndef COMMON_REDACT_H
#define COMMON_REDACT_H

#include <stdbool.h>

#include <jansson.h>

#include "common/secrets.h"

#define REDACTED "[redacted]"

bool redact_is_secret_name(const char *name);

/* Gives a copy: values of secret names replaced, whatever they are; card numbers and secrets within
 * texts masked. NULL when out of memory. */
json_t *redact_json(const json_t *value);

/* Gives a copy to be freed with mem_free(): what follows a secret name and ':' or '=', what follows
 * "Bearer" or "Basic", passwords of URLs, and the digits of card numbers. */
char *redact_text(const char *text);

/* The same with what the job's own secrets hide besides. */
json_t *redact_json_of(const struct secrets *secrets, const json_t *value,
                       enum secrets_place place);
char *redact_text_of(const struct secrets *secrets, const char *text);

#endif
