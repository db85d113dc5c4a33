/* SPDX-License-Identifier: MIT
 *
 * The secrets of one job: the names that its task declares, and the values that stand under them,
 * which nobody may see anywhere else either (an error, a result, a line of its log). Pure.
 *
 *   AUTO_VALUE(secrets_release) struct secrets secrets = {0};
 *   secrets_declare(&secrets, "[\"password\", \"1\"]");
 *   secrets_collect(&secrets, kwargs, SECRETS_OF_OBJECT);
 *   shown = secrets_hide(&secrets, error);
 *
 * A declared name is that of a member, at any depth, whatever its case; a number is also the place
 * of a positional argument, from 0; "result" is also the result as a whole.
 */
#ifndef COMMON_SECRETS_H
#define COMMON_SECRETS_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

enum {
    SECRETS_NAMES_MAX = 64,   /* that one task declares */
    SECRETS_NAME_MAX = 100,   /* bytes */
    SECRETS_VALUES_MAX = 256, /* that one job has */
    SECRETS_GUESSED_MIN = 6,  /* bytes of a value that is secret only by the sound of its name */
};

struct secrets {
    char **names; /* owned */
    size_t name_count;
    char **values; /* owned, longest first */
    size_t value_count;
    bool is_full; /* there were more than SECRETS_VALUES_MAX: no text can be trusted */
};

enum secrets_place { SECRETS_OF_ARGS, SECRETS_OF_OBJECT, SECRETS_OF_RESULT };

void secrets_release(struct secrets *secrets);

/* Adds the names of a JSON array of texts; NULL is none. */
void secrets_declare(struct secrets *secrets, const char *names);
void secrets_declare_one(struct secrets *secrets, const char *name);

/* Whether the member of this name was declared; NULL secrets have none. */
bool secrets_has_name(const struct secrets *secrets, const char *name);
bool secrets_has_place(const struct secrets *secrets, size_t place);

/* Takes the values that stand under secret names, declared or known by their sound. */
void secrets_collect(struct secrets *secrets, const json_t *value, enum secrets_place place);

/* Takes the values of others; NULL has none. */
void secrets_add_all(struct secrets *secrets, const struct secrets *others);

/* A copy in which these values are replaced, to be freed with mem_free(): as they are, and as they
 * look inside JSON or a URL. Values of less than four characters only where they stand alone. */
char *secrets_hide(const struct secrets *secrets, const char *text);

#endif
