/* SPDX-License-Identifier: MIT
 *
 * What a worker logs and reports of a failure: without what the task declares, in args of any size.
 */
#include "worker/conceal.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/mem.h"
#include "common/redact.h"
#include "worker/task.h"

static const struct task transfer = {.name = "transfer", .secrets = {"iban", "0"}};

static struct err conceal(const struct task *task, const char *args, const char *kwargs,
                          const char *text)
{
    struct item item = {.task = task, .delivery = {.kind = DELIVERY_DURABLE}};
    struct err why = {0};
    struct err shown;

    item.job.args = mem_dup(args);
    item.job.kwargs = mem_dup(kwargs);
    (void)err_set_detail(&why, ERR_TIMEOUT, text, "%s", text);
    conceal_err(&item, &why, &shown);
    mem_free(item.job.args);
    mem_free(item.job.kwargs);
    cr_expect_eq(shown.code, ERR_TIMEOUT);
    cr_expect_str_eq(shown.text, shown.detail);
    return shown;
}

Test(conceal, what_the_task_declares)
{
    cr_expect_str_eq(
        conceal(&transfer, "[\"first\"]", "{\"a\": {\"IBAN\": \"DE89\"}}", "no first and no DE89")
            .text,
        "no [redacted] and no [redacted]");
    cr_expect_str_eq(conceal(&transfer, NULL, NULL, "no first").text, "no first");
}

Test(conceal, what_looks_like_a_secret)
{
    cr_expect_str_eq(
        conceal(NULL, "[]", "{\"password\": \"hunter2hunter2\"}", "hunter2hunter2 is wrong").text,
        "[redacted] is wrong");
    cr_expect_str_eq(conceal(NULL, "[]", "{}", "password=hunter2").text, "password=[redacted]");
}

Test(conceal, args_that_cannot_be_read)
{
    cr_expect_str_eq(conceal(&transfer, "[1", "{}", "no DE89").text, REDACTED);
    cr_expect_str_eq(conceal(NULL, "[1", "{}", "no DE89").text, "no DE89");
}
