/* SPDX-License-Identifier: MIT
 *
 * Ids of jobs in the order of a list: newest first, or with `up` oldest first. Pure.
 */
#ifndef COMMON_FOUND_IDS_H
#define COMMON_FOUND_IDS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/uuid.h"

struct found_ids {
    struct uuid *items; /* owned */
    size_t count;
};

void found_ids_release(struct found_ids *list);
/* In order, each once. */
void found_ids_sort(struct found_ids *list, bool up);

/* Whether `a` comes before `b` in the order of the list. */
bool id_is_before(const struct uuid *a, const struct uuid *b, bool up);
/* The id next to it, against the order: a cursor that lets this one through. */
struct uuid id_just_before(const struct uuid *id, bool up);

#endif
