/* SPDX-License-Identifier: MIT
 *
 * Errors without secrets; see conceal.h. Failures are rare enough to read the args once more.
 */
#include "worker/conceal.h"

#include <stdio.h>

#include "common/job_headers.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/redact.h"
#include "worker/slot.h"
#include "worker/task.h"

static void conceal(const struct secrets *secrets, const char *text, char *out, size_t size)
{
    AUTO(mem_free) char *shown = redact_text_of(secrets, text);

    (void)snprintf(out, size, "%s", shown);
}

static void declare(struct secrets *secrets, const struct task *task)
{
    for (size_t i = 0; task && i < TASK_SECRETS_MAX; i++)
        secrets_declare_one(secrets, task->secrets[i]);
}

static void collect(struct secrets *secrets, const struct item *item)
{
    AUTO(json_decref) json_t *args = NULL;
    AUTO(json_decref) json_t *kwargs = NULL;

    declare(secrets, item->task);
    if (slot_decode(item, &args, &kwargs, NULL))
        secrets->is_full = secrets->name_count > 0; /* they may be anywhere */
    secrets_collect(secrets, args, SECRETS_OF_ARGS);
    secrets_collect(secrets, kwargs, SECRETS_OF_OBJECT);
}

json_t *conceal_headers(const struct item *item, const char *headers)
{
    AUTO_VALUE(secrets_release) struct secrets secrets = {0};

    if (!headers)
        return NULL;
    collect(&secrets, item);
    return job_headers_shown(&secrets, headers);
}

char *conceal_headers_line(const struct task *task, const char *headers)
{
    AUTO_VALUE(secrets_release) struct secrets secrets = {0};
    AUTO(json_decref) json_t *shown = NULL;

    if (!headers)
        return NULL;
    declare(&secrets, task);
    shown = job_headers_shown(&secrets, headers);
    return job_headers_line(shown);
}

void conceal_err(const struct item *item, const struct err *why, struct err *ret_shown)
{
    AUTO_VALUE(secrets_release) struct secrets secrets = {0};

    collect(&secrets, item);
    *ret_shown = (struct err){.code = why->code};
    conceal(&secrets, why->text, ret_shown->text, sizeof ret_shown->text);
    conceal(&secrets, why->detail, ret_shown->detail, sizeof ret_shown->detail);
}
