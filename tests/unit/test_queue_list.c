/* SPDX-License-Identifier: MIT
 *
 * TILL_QUEUES: what is accepted and what is refused.
 */
#include "common/queue_list.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"

Test(queue_list, an_order_or_weights)
{
    struct queue_list list = {0};

    cr_assert_eq(queue_list_parse("payments, mail ,,default", &list, NULL), ERR_OK);
    cr_expect_eq(list.count, 3);
    cr_expect_not(list.is_weighted);
    cr_expect_str_eq(list.items[1].name, "mail");
    queue_list_release(&list);
    cr_assert_eq(queue_list_parse("critical=6,default=3, low=1", &list, NULL), ERR_OK);
    cr_expect_eq(list.count, 3);
    cr_expect(list.is_weighted);
    cr_expect_str_eq(list.items[2].name, "low");
    cr_expect_eq(list.items[0].weight, 6);
    cr_expect_eq(list.items[2].weight, 1);
    queue_list_release(&list);
}

Test(queue_list, what_is_wrong_is_named)
{
    static const struct {
        const char *text;
        const char *names;
    } cases[] = {
        {"", "no queue"},       {" , ,", "no queue"}, {"a,b=2", "to every queue, or to none"},
        {"a=2,b", "no weight"}, {"a,b,a", "twice"},   {"a=0", "weight"},
        {"a=1001", "weight"},   {"a=-1", "weight"},   {"a=1.5", "weight"},
        {"a=", "weight"},       {"a=x", "weight"},    {"=3", "name"},
        {"a b,c", "name of"},   {"a=1 2", "weight"},  {"a:b", "name of"},
        {"{a}", "name of"},     {"a=1=2", "weight"},  {"a=1,a=2", "twice"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct queue_list list = {0};
        struct err e = {0};

        cr_expect_eq(queue_list_parse(cases[i].text, &list, &e), ERR_INVALID, "\"%s\"",
                     cases[i].text);
        cr_expect(strstr(e.text, cases[i].names), "\"%s\": %s", cases[i].text, e.text);
        cr_expect_null(list.items);
    }
}

Test(queue_list, too_many_are_refused)
{
    struct queue_list list = {0};
    char text[QUEUE_LIST_MAX * 8 + 16] = "";
    size_t at = 0;

    for (int i = 0; i <= QUEUE_LIST_MAX; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "q%d,", i);
    cr_expect_eq(queue_list_parse(text, &list, NULL), ERR_INVALID);
}
