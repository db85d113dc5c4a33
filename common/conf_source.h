/* SPDX-License-Identifier: MIT
 *
 * One place that settings come from: flags, the environment, or a file in the form of systemd's
 * EnvironmentFile. conf.c asks them in their order.
 */
#ifndef COMMON_CONF_SOURCE_H
#define COMMON_CONF_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

/* Starts as {.name = ...}; conf_source_release() frees the pairs. */
struct conf_source {
    const char *name; /* in error texts; of a file its path. Borrowed */
    struct {
        char *key;
        char *value;
    } * pairs;
    size_t count;
};

/* Copies both. */
void conf_source_add(struct conf_source *source, const char *key, size_t key_len,
                     const char *value);
void conf_source_release(struct conf_source *source);

/* NULL when there is none. Borrowed. */
const char *conf_source_find(const struct conf_source *source, const char *key);

/* Reads the file `source->name`. ERR_INVALID, with the line, for what cannot be read and for a key
 * that is not known. */
enum err_code conf_source_read(struct conf_source *source, bool (*is_known)(const char *key),
                               struct err *e) MUST_CHECK;

/* The text of the file that the setting `key` names, without blanks around it. Owned. */
enum err_code conf_source_read_secret(const char *key, const char *path, char **ret_value,
                                      struct err *e) MUST_CHECK;

#endif
