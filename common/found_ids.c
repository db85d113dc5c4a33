/* SPDX-License-Identifier: MIT
 *
 * Lists of ids in order; see found_ids.h. Ids sort as their texts do.
 */
#include "common/found_ids.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

void found_ids_release(struct found_ids *list)
{
    mem_free(list->items);
    *list = (struct found_ids){0};
}

static int compare_up(const void *a, const void *b)
{
    return strcmp(((const struct uuid *)a)->text, ((const struct uuid *)b)->text);
}

static int compare_down(const void *a, const void *b) { return compare_up(b, a); }

bool id_is_before(const struct uuid *a, const struct uuid *b, bool up)
{
    return (up ? compare_up(a, b) : compare_down(a, b)) < 0;
}

void found_ids_sort(struct found_ids *list, bool up)
{
    size_t kept = 0;

    if (list->count > 0)
        qsort(list->items, list->count, sizeof list->items[0], up ? compare_up : compare_down);
    for (size_t i = 0; i < list->count; i++)
        if (kept == 0 || strcmp(list->items[kept - 1].text, list->items[i].text) != 0)
            list->items[kept++] = list->items[i];
    list->count = kept;
}

struct uuid id_just_before(const struct uuid *id, bool up)
{
    static const char digits[] = "0123456789abcdef";
    struct uuid out = *id;

    for (size_t i = sizeof out.text - 1; i-- > 0;) {
        const char *digit = out.text[i] == '-' ? NULL : strchr(digits, out.text[i]);
        long number;

        if (!digit)
            continue;
        number = digit - digits + (up ? -1 : 1);
        out.text[i] = digits[number & 15];
        if (number == (number & 15))
            return out;
    }
    return *id; /* the first or last of all: none is there */
}
