/* SPDX-License-Identifier: MIT
 *
 * The text of TILL_QUEUES as a list; see queue_list.h.
 */
#include "common/queue_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/auto.h"
#include "common/mem.h"
#include "common/text.h"

void queue_list_release(struct queue_list *list)
{
    mem_free(list->items);
    *list = (struct queue_list){0};
}

static bool is_listed(const struct queue_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return true;
    return false;
}

static char *trim(char *text)
{
    size_t len;

    text += strspn(text, " ");
    for (len = strlen(text); len > 0 && text[len - 1] == ' '; len--)
        text[len - 1] = '\0';
    return text;
}

/* "name" or "name=weight", without blanks around it. */
static enum err_code add_part(struct queue_list *list, char *part, struct err *e)
{
    struct queue_list_item item = {.weight = 1};
    char *equals = strchr(part, '=');
    int64_t weight = 1;

    if (equals)
        *equals = '\0';
    if (!text_is_name(part))
        return err_set(e, ERR_INVALID, "\"%.40s\" is no name of a queue", part);
    if (equals && !text_to_int(equals + 1, 1, QUEUE_LIST_WEIGHT_MAX, &weight))
        return err_set(e, ERR_INVALID,
                       "the weight of queue \"%.40s\" is not a number from 1 to %d: \"%.20s\"",
                       part, QUEUE_LIST_WEIGHT_MAX, equals + 1);
    if (is_listed(list, part))
        return err_set(e, ERR_INVALID, "queue \"%.40s\" is given twice", part);
    if (list->count > 0 && list->is_weighted != (equals != NULL))
        return err_set(e, ERR_INVALID,
                       "queue \"%.40s\" has %s weight: give one to every queue, or to none", part,
                       equals ? "a" : "no");
    if (list->count == QUEUE_LIST_MAX)
        return err_set(e, ERR_INVALID, "more than %d queues", QUEUE_LIST_MAX);
    list->is_weighted = equals != NULL;
    (void)snprintf(item.name, sizeof item.name, "%s", part);
    item.weight = (int)weight;
    list->items[list->count++] = item;
    return ERR_OK;
}

enum err_code queue_list_parse(const char *text, struct queue_list *ret_list, struct err *e)
{
    AUTO_VALUE(queue_list_release) struct queue_list list = {0};
    AUTO(mem_free) char *copy = mem_dup(text);
    char *rest = copy;
    char *part;

    list.items = mem_array(QUEUE_LIST_MAX, sizeof list.items[0]);
    while ((part = strsep(&rest, ",")) != NULL) {
        enum err_code rc;

        part = trim(part);
        if (!*part)
            continue;
        rc = add_part(&list, part, e);
        if (rc)
            return rc;
    }
    if (list.count == 0)
        return err_set(e, ERR_INVALID, "no queue is named");
    *ret_list = list;
    list = (struct queue_list){0};
    return ERR_OK;
}
