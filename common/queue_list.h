/* SPDX-License-Identifier: MIT
 *
 * Reading the setting TILL_QUEUES. "a,b" is an order: b gets what a leaves. "a=6,b=3" are weights:
 * of nine jobs, six come from a, as long as both have some. Pure.
 */
#ifndef COMMON_QUEUE_LIST_H
#define COMMON_QUEUE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

enum { QUEUE_LIST_MAX = 64, QUEUE_LIST_NAME_MAX = 200, QUEUE_LIST_WEIGHT_MAX = 1000 };

struct queue_list_item {
    char name[QUEUE_LIST_NAME_MAX + 1];
    int weight; /* 1 where none is given */
};

struct queue_list {
    struct queue_list_item *items; /* owned */
    size_t count;
    bool is_weighted; /* false: in strict order */
};

/* ERR_INVALID names the part that is wrong: a bad name, one given twice, weights for some only. */
enum err_code queue_list_parse(const char *text, struct queue_list *ret_list,
                               struct err *e) MUST_CHECK;
void queue_list_release(struct queue_list *list);

#endif
