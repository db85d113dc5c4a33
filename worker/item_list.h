/* SPDX-License-Identifier: MIT
 *
 * Lists of items, linked through the items themselves. Pure; the pool's lock guards them.
 */
#ifndef WORKER_ITEM_LIST_H
#define WORKER_ITEM_LIST_H

#include "worker/pool.h"

struct item_list {
    struct item *first;
    struct item *last;
    int count;
};

static inline void item_list_append(struct item_list *list, struct item *item)
{
    item->next = NULL;
    item->prev = list->last;
    *(list->last ? &list->last->next : &list->first) = item;
    list->last = item;
    list->count++;
}

static inline void item_list_remove(struct item_list *list, struct item *item)
{
    *(item->prev ? &item->prev->next : &list->first) = item->next;
    *(item->next ? &item->next->prev : &list->last) = item->prev;
    list->count--;
}

#endif
